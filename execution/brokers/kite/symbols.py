"""Our names and Kite's, both ways. Pure: a name is translated by rule, so that no order waits for a list.

Ours are FYERS's, which carry exchange and series: `NSE:SBIN-EQ`, `BSE:SBIN-A`, `NSE:NIFTY26AUGFUT`. Kite names the
exchange apart (derivatives have one of their own) and leaves the series EQ out.
"""

import re
from dataclasses import dataclass

from execution.brokers.errors import UnexpectedReply

DERIVATIVES = {"NSE": "NFO", "BSE": "BFO"}
CASH_OF = {"NFO": "NSE", "BFO": "BSE"}
INDICES = {
    "NSE:NIFTY50-INDEX": "NIFTY 50",
    "NSE:NIFTYBANK-INDEX": "NIFTY BANK",
    "NSE:FINNIFTY-INDEX": "NIFTY FIN SERVICE",
    "NSE:MIDCPNIFTY-INDEX": "NIFTY MID SELECT",
    "NSE:NIFTYNXT50-INDEX": "NIFTY NEXT 50",
    "NSE:INDIAVIX-INDEX": "INDIA VIX",
    "BSE:SENSEX-INDEX": "SENSEX",
    "BSE:BANKEX-INDEX": "BANKEX",
}
_INDEX_OF = {(symbol.partition(":")[0], name): symbol for symbol, name in INDICES.items()}
_DERIVATIVE = re.compile(r"[A-Z0-9&-]+\d{2}[A-Z0-9]*(?:FUT|\d(?:\.\d+)?(?:CE|PE))")
# Series that Kite keeps as a suffix on NSE. A name may hold a hyphen of its own: BAJAJ-AUTO has no series.
_SERIES = re.compile(r"(.+)-(BE|BZ|BL|IL|SM|ST|GB|GS|SG|RR|IV|TB|MF|E1|[NYZ][0-9A-Z])")
_USUAL_SERIES = {"NSE": "EQ", "BSE": "A"}


@dataclass(frozen=True, slots=True)
class KiteName:
    """An instrument as Kite names it."""

    exchange: str
    tradingsymbol: str

    @property
    def key(self) -> str:
        """As quotes are asked for."""
        return f"{self.exchange}:{self.tradingsymbol}"


def to_kite(symbol: str) -> KiteName | None:
    """Kite's name of one of our symbols; None for what is not a symbol of ours."""
    exchange, colon, rest = symbol.partition(":")
    if not colon or not rest or exchange not in _USUAL_SERIES:
        return None
    if symbol in INDICES:
        return KiteName(exchange, INDICES[symbol])
    name, hyphen, series = rest.rpartition("-")
    if hyphen and name and series == "INDEX":
        return KiteName(exchange, name)
    if _DERIVATIVE.fullmatch(rest):
        return KiteName(DERIVATIVES[exchange], rest)
    if not hyphen or not name or not series:
        return None
    keeps_series = exchange == "NSE" and series != "EQ"
    return KiteName(exchange, rest if keeps_series else name)


def from_kite(exchange: str, tradingsymbol: str, *, is_index: bool = False) -> str:
    """Our symbol of what Kite names. On BSE, whose group Kite does not tell, group A stands for all."""
    if not tradingsymbol or not exchange:
        raise UnexpectedReply("an instrument without a name.")
    if index := _INDEX_OF.get((exchange, tradingsymbol)):
        return index
    if is_index:
        return f"{exchange}:{tradingsymbol.replace(' ', '')}-INDEX"
    if exchange in CASH_OF:
        return f"{CASH_OF[exchange]}:{tradingsymbol}"
    if exchange not in _USUAL_SERIES:
        return f"{exchange}:{tradingsymbol}"
    if exchange == "NSE" and _SERIES.fullmatch(tradingsymbol):
        return f"{exchange}:{tradingsymbol}"
    return f"{exchange}:{tradingsymbol}-{_USUAL_SERIES[exchange]}"
