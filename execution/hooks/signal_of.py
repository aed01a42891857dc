"""An alert that was understood becomes a signal: instrument, size in units, prices on the tick, words for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from execution.hooks.arrival import Arrival
from execution.hooks.meaning import Kind, Meaning
from execution.hooks.payload import Alert
from execution.hooks.precision import on_tick, units_of
from execution.hooks.refusal import FieldError, Refused
from execution.hooks.symbol_map import Listing, Resolved, Unmapped, resolve_asked
from execution.models import Delivery, Hook
from risk.policies import policy_asked
from strategies.models import Signal
from trading.domain.orders import Side
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Instrument
from trading.marketdata.quotes import Quote, last_quotes
from trading.portfolio.models import Portfolio
from trading.statements import together

EXIT_KEPT_S = 3600  # wall seconds: an exit that is late is still an exit
DONE = {Kind.ENTRY: "", Kind.EXIT: "exit, ", Kind.REDUCE: "reduce, ", Kind.REVERSE: "reverse, "}
POSITION_WORDS = {"BUY": "long", "SELL": "short", "FLAT": "flat"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A signal but for its row: units, prices on the tick; `quantity` None: the desk sizes it."""

    alert: Alert
    meaning: Meaning
    instrument: Instrument
    entry: Decimal
    stop: Decimal | None
    target: Decimal | None
    quantity: int | None
    venue_at: datetime
    expires_at: datetime

    def signal(self, delivery: Delivery, place: int, arrival: Arrival) -> Signal:
        """The row, named after its delivery: one delivery makes it once."""
        hook, alert, meaning = arrival.hook, self.alert, self.meaning
        replayed = arrival.replay_of is not None
        origin = f"{hook.name}: {alert.alert_name}" if alert.alert_name else hook.name
        return Signal(
            portfolio=hook.portfolio, source=Signal.Source.HOOK, kind=meaning.kind, deployment=None,
            origin=(f"{origin[:108]} (replayed)" if replayed else origin[:120]), hook_ref=hook.pk,
            timeframe=alert.timeframe[:8], product=hook.product, quantity=self.quantity,
            max_slippage_pct=None if alert.max_slippage_pct is None else round(alert.max_slippage_pct, 3),
            ladder_ref=hook.ladder_id, instrument=self.instrument, side=meaning.side, entry=self.entry,
            stop=self.stop, target=self.target, features=self._features(delivery, replayed=replayed),
            explanation=self._words(), bar_at=self.venue_at, created_at=arrival.wall, expires_at=self.expires_at,
            dedupe_key=f"hook:{delivery.pk}:{place}",
        )  # fmt: skip

    def _features(self, delivery: Delivery, *, replayed: bool) -> dict[str, Any]:
        alert, meaning = self.alert, self.meaning
        said = {
            "delivery": str(delivery.pk), "dialect": alert.dialect, "source": alert.source, "trade_id": alert.trade_id,
            "alert": alert.alert_name, "message": alert.message[:500], "closes": meaning.closes,
            "said_at": alert.said_at.isoformat() if alert.said_at else "", "strict": alert.strict,
            "replayed": replayed, "position": POSITION_WORDS.get(alert.position, ""),
            "position_before": POSITION_WORDS.get(alert.position_before, ""),
        }  # fmt: skip
        return {name: value for name, value in said.items() if value not in ("", False)}

    def _words(self) -> str:
        alert, meaning = self.alert, self.meaning
        name = f"“{alert.alert_name}”" if alert.alert_name else "An alert"
        size = f" {self.quantity}" if self.quantity else ""
        words = f"{name}: {DONE[Kind(meaning.kind)]}{meaning.side.lower()}{size} {self.instrument.ticker}"
        if self.entry:
            words += f" at {self.entry.normalize():f}"
        if alert.position:
            before = POSITION_WORDS.get(alert.position_before)
            words += f" (now {POSITION_WORDS[alert.position]}{f', was {before}' if before else ''})"
        return f"{words}. {alert.message[:300]}".strip()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What alerts of a portfolio meet: what their names mean, what time it is at the venue, how long an entry is worth
    something, and the newest prices of what they give no price of."""

    found: Resolved
    venue_at: datetime
    max_signal_age_s: int
    quotes: Mapping[str, Quote]


def surroundings_of(asked: Iterable[tuple[Hook, Sequence[Alert]]]) -> dict[int, Surroundings]:
    """By portfolio, asked for all of its alerts at once."""
    portfolios: dict[int, tuple[Portfolio, list[Alert]]] = {}
    for hook, alerts in asked:
        portfolios.setdefault(hook.portfolio_id, (hook.portfolio, []))[1].extend(alerts)
    around = {}
    for portfolio_id, (portfolio, alerts) in portfolios.items():
        with together():
            names = resolve_asked(portfolio_id, [_listing(one) for one in alerts])
            policy = policy_asked(portfolio_id)
        found, feed = names(), portfolio.account.feed
        unpriced = {found[_listing(one)] for one in alerts if one.price is None}
        symbols = [one.symbol for one in unpriced if isinstance(one, Instrument)]
        quotes = last_quotes(feed, symbols) if symbols else {}
        around[portfolio_id] = Surroundings(found, venue_now(feed), policy().max_signal_age_s, quotes)
    return around


def surroundings_of_nothing() -> None:
    """The same questions about no portfolio and no name."""
    with together():
        names, policy = resolve_asked(0, []), policy_asked(None)
    names(), policy()
    venue_now("")


def _listing(alert: Alert) -> Listing:
    return alert.exchange, alert.symbol


def draft_signals(
    hook: Hook, understood: Sequence[tuple[Alert, Meaning]], *, around: Surroundings, wall: datetime
) -> tuple[list[Draft], list[FieldError]]:
    """A draft for each alert. Of a list, those that cannot be traded are left out and named; alone it is Refused."""
    drafts: list[Draft] = []
    refusals: list[Refused] = []
    for alert, meaning in understood:
        try:
            instrument = around.found[_listing(alert)]
            if isinstance(instrument, Unmapped):
                raise _unmapped(alert, instrument)
            exits = meaning.kind in (Kind.EXIT, Kind.REDUCE)
            expires = wall + timedelta(seconds=EXIT_KEPT_S if exits else around.max_signal_age_s)
            drafts.append(_draft(hook, alert, meaning, instrument, around, expires))
        except Refused as refusal:
            if len(understood) == 1:
                raise
            refusals.append(refusal)
    skipped = [FieldError(**one) for refusal in refusals for one in refusal.errors]
    if not drafts:
        raise Refused(422, refusals[0].code, f"None of {len(understood)} can be traded.", skipped)
    return drafts, skipped


def _unmapped(alert: Alert, found: Unmapped) -> Refused:
    error = FieldError(alert.name_of("tv.symbol"), found.code, found.message)
    return Refused(422, f"SYMBOL_{found.code}", found.message, [error], suggestions=list(found.suggestions))


def _draft(
    hook: Hook, alert: Alert, meaning: Meaning, instrument: Instrument, around: Surroundings, expires: datetime
) -> Draft:
    spec, side = instrument.spec, meaning.side
    opens = meaning.kind in (Kind.ENTRY, Kind.REVERSE)
    price, shown = alert.price, alert.name_of("tv.entry_price" if alert.entry_price else "tv.close_price")
    if price is None:
        quote = around.quotes.get(instrument.symbol)
        price = quote.last_price if quote else None
    if opens and not price:
        wrong = FieldError(alert.name_of("tv.entry_price"), "PRICE_MISSING", "No price was given and none is known.")
        raise Refused(422, "PRICE_MISSING", wrong.message, [wrong])
    strict = alert.strict and opens
    entry = on_tick(price, spec=spec, side=side, strict=strict and alert.price is not None, shown=shown)
    stop, target = (
        on_tick(level, spec=spec, side=Side(side).opposite, strict=strict, shown=alert.name_of(path)) if opens else None
        for level, path in ((alert.stop, "risk.stop_loss"), (alert.target, "risk.take_profit"))
    )
    quantity = None
    if meaning.size is not None:
        quantity = units_of(
            meaning.size, alert.size_type, spec=spec, price=entry, strict=alert.strict,
            shown=alert.name_of("tv.order_size"),
        )  # fmt: skip
    _refuse_wrong_side(alert, side, entry, stop, target)
    return Draft(alert, meaning, instrument, entry or Decimal(0), stop, target, quantity, around.venue_at, expires)


def _refuse_wrong_side(
    alert: Alert, side: Side, entry: Decimal | None, stop: Decimal | None, target: Decimal | None
) -> None:
    """After rounding, or against a price that the alert did not name, a level may lie on the wrong side."""
    for path, level, ahead in (("risk.stop_loss", stop, -1), ("risk.take_profit", target, 1)):
        if level is not None and entry is not None and (level - entry) * side.sign * ahead <= 0:
            message = f"{level.normalize():f} is on the wrong side of the entry at {entry.normalize():f}."
            raise Refused(422, "WRONG_SIDE", message, [FieldError(alert.name_of(path), "WRONG_SIDE", message)])
