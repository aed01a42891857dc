"""Which instrument a name of the outside means: the portfolio's own map first, then what the exchange itself calls it.

`NSE:SBIN-EQ` is our own spelling; `SBIN` on NSE is the share listed under that ticker, where TradingView writes `M_M`
for M&M and `BAJAJ_AUTO` for BAJAJ-AUTO. Whatever else there is (continuous futures, other exchanges) needs a row.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from execution.models import HookSymbol
from trading.marketdata.models import Instrument
from trading.statements import Select

Listing = tuple[str, str]
HOME = "NSE"
SUGGESTIONS = 3
OWN = Select(
    HookSymbol, "instrument", where="WHERE t.portfolio_id = %(portfolio)s AND t.symbol = ANY(%(symbols)s::text[])"
)
LISTED = Select(Instrument, where="WHERE t.symbol = ANY(%(names)s::text[])")


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Why a name means nothing here, and what may have been meant."""

    code: str
    message: str
    suggestions: tuple[str, ...] = ()


Resolved = Mapping[Listing, Instrument | Unmapped]


def resolve_asked(portfolio_id: int, listings: Iterable[Listing]) -> Callable[[], Resolved]:
    """For each (exchange, symbol) its instrument, or why there is none. Two questions, however many; asked together
    with the caller's others and read later."""
    asked = list(dict.fromkeys(listings))
    wanted = {listing: _spellings(*listing) for listing in asked}
    own_rows = OWN.ask({"portfolio": portfolio_id, "symbols": list({symbol for _, symbol in asked})})
    listed_rows = LISTED.ask({"names": list({name for spellings in wanted.values() for name in spellings})})

    def resolved() -> Resolved:
        mapped = {(row.exchange, row.symbol): row.instrument for row in own_rows()}
        known = {one.symbol: one for one in listed_rows()}
        found: dict[Listing, Instrument | Unmapped] = {}
        for listing in asked:
            own = mapped.get(listing) or mapped.get(("", listing[1]))
            hits = [own] if own else [known[name] for name in wanted[listing] if name in known]
            found[listing] = _tradable(hits[0]) if hits else _unmapped(*listing)
        return found

    return resolved


def _spellings(exchange: str, symbol: str) -> list[str]:
    """Our own names that this one may be, the surest first."""
    home = exchange or HOME
    plain = [symbol, symbol.replace("_", "&"), symbol.replace("_", "-")]
    listed = [f"{home}:{name}" for name in dict.fromkeys(plain)]
    return listed + ([f"{name}-EQ" for name in listed] if home == HOME else [])


def _tradable(instrument: Instrument) -> Instrument | Unmapped:
    if instrument.is_tradable:
        return instrument
    why = "an index cannot be traded" if instrument.instrument_type == "INDEX" else "it is not listed any more"
    return Unmapped("NOT_TRADABLE", f"{instrument.symbol}: {why}. Map the name to what is to be traded.")


def _unmapped(exchange: str, symbol: str) -> Unmapped:
    name = f"{exchange}:{symbol}" if exchange else symbol
    near = suggest(exchange, symbol)
    meant = f" Did you mean {', '.join(near)}?" if near else ""
    return Unmapped("NOT_MAPPED", f"{name} is not in the symbol map.{meant} Map it on the hook's page.", near)


def suggest(exchange: str, symbol: str) -> tuple[str, ...]:
    """Names of ours that are most like it. Served by the index of names: only those that begin alike are looked at."""
    begins = f"{exchange or HOME}:{symbol[:3]}"
    rows = Instrument.objects.filter(symbol__startswith=begins, active=True).exclude(instrument_type="INDEX")
    names = list(rows.order_by("symbol").values_list("symbol", flat=True)[:400])
    near = get_close_matches(f"{exchange or HOME}:{symbol}-EQ", names, n=SUGGESTIONS, cutoff=0.6)
    return tuple(near or names[:1])
