"""What a symbol says about itself. For when no master is at hand: the master's columns rule where there is one.

FYERS and Zerodha write contracts alike: NIFTY26AUG24000CE (the month's last expiry), NIFTY2681824000CE (a weekly: year,
month 1-9/O/N/D, day), NIFTY26AUGFUT. Names may hold digits, `&` and `-`, so the tail is read first. A weekly names its
day; a monthly only its month. Source: FYERS API v3, symbology; Kite Connect, instruments.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKLY_MONTHS = {**{str(number): number for number in range(1, 10)}, "O": 10, "N": 11, "D": 12}
_OPTION_TAIL = re.compile(
    r"(?P<year>\d\d)(?:(?P<month>[A-Z]{3})|(?P<code>[1-9OND])(?P<day>\d\d))(?P<strike>\d+(?:\.\d+)?)(?P<type>CE|PE)"
)
_FUTURE_TAIL = re.compile(r"(?P<year>\d\d)(?P<month>[A-Z]{3})FUT")


@dataclass(frozen=True, slots=True)
class ParsedSymbol:
    """The parts of a symbol. `month`: first day of a monthly contract's month; `expiry`: the day a weekly names."""

    exchange: str
    name: str
    kind: str  # EQ (any series), INDEX, FUT, CE, PE
    series: str = ""
    month: date | None = None
    expiry: date | None = None
    strike: Decimal | None = None


def parse_symbol(symbol: str) -> ParsedSymbol | None:
    """The parts of `NSE:SBIN-EQ`, `NSE:NIFTY26AUGFUT`, `BSE:SENSEX26O0173000CE`; None where it is none of these."""
    exchange, colon, listed = symbol.partition(":")
    if not colon or not exchange.isalpha() or not listed or not listed.isascii():
        return None
    if listed.endswith(("CE", "PE", "FUT")) and (contract := _contract(exchange, listed)) is not None:
        return contract
    name, dash, series = listed.rpartition("-")
    if not dash or not name or not series:
        return None
    return ParsedSymbol(exchange, name, "INDEX" if series == "INDEX" else "EQ", series=series)


def _contract(exchange: str, listed: str) -> ParsedSymbol | None:
    """Cut the tail where it first makes sense, so that the name is as short as it can be: NIFTYNXT50 ends in digits."""
    pattern = _FUTURE_TAIL if listed.endswith("FUT") else _OPTION_TAIL
    for at in range(1, len(listed)):
        tail = pattern.fullmatch(listed, at)
        if tail is None:
            continue
        given = tail.groupdict()
        year, month = 2000 + int(given["year"]), given["month"]
        kind, strike = given.get("type", "FUT"), given.get("strike")
        price = Decimal(strike) if strike else None
        if month is not None:
            if month in MONTHS:
                first = date(year, MONTHS.index(month) + 1, 1)
                return ParsedSymbol(exchange, listed[:at], kind, month=first, strike=price)
            continue
        try:
            expiry = date(year, WEEKLY_MONTHS[given["code"]], int(given["day"]))
        except ValueError:
            continue
        return ParsedSymbol(exchange, listed[:at], kind, expiry=expiry, strike=price)
    return None


_CONTRACT_ROOTS = {
    "NSE:NIFTY50-INDEX": "NIFTY", "NSE:NIFTYBANK-INDEX": "BANKNIFTY", "NSE:FINNIFTY-INDEX": "FINNIFTY",
    "NSE:MIDCPNIFTY-INDEX": "MIDCPNIFTY", "NSE:NIFTYNXT50-INDEX": "NIFTYNXT50", "BSE:SENSEX-INDEX": "SENSEX",
    "BSE:BANKEX-INDEX": "BANKEX",
}  # fmt: skip


def contract_root(symbol: str) -> str:
    """The name that contracts on an underlying go by: NIFTY of NSE:NIFTY50-INDEX, SBIN of NSE:SBIN-EQ."""
    return _CONTRACT_ROOTS.get(symbol) or symbol.partition(":")[2].rpartition("-")[0]
