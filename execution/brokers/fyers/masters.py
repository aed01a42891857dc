"""FYERS symbol masters, CSV and JSON. Source: FYERS API v3, symbol master.

The CSV has no header: 21 fields today, 14 in 2021 (without strike and option type), with forms between. Times are
epoch seconds UTC. The last two fields look like a flag and a multiple of margin trading; they are not used.
"""

import csv
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from execution.brokers import fields
from execution.brokers.fyers.mapping import CASH_TYPES, DERIVATIVE_TYPES, EXCHANGES, SEGMENTS, read_symbol_master
from execution.brokers.http import Reply
from execution.brokers.port import ListedInstrument
from trading.domain.clock import IST
from trading.domain.symbols import parse_symbol
from trading.marketdata.listing.instruments import MasterRefused

LEAST_FIELDS = 14  # up to the underlying's name
WITH_STRIKE = 18
INDEX_LOT = 1  # masters write 0 for what cannot be bought


def read_csv(text: Iterable[str]) -> tuple[list[ListedInstrument], date | None]:
    """The lines of a CSV master and the newest day among them. MasterRefused: UNKNOWN_LAYOUT, CUT_FILE, WRONG_LINE."""
    csv.field_size_limit(4096)
    listed: list[ListedInstrument] = []
    newest = ""
    width = 0
    rows = csv.reader(text)
    try:
        for row in rows:
            if not row:
                continue
            if not width:
                width = len(row)
                if width < LEAST_FIELDS or not row[0].isdigit() or ":" not in row[9]:
                    raise MasterRefused("UNKNOWN_LAYOUT", f"no FYERS master: its first line has {width} fields")
            if len(row) != width:
                raise MasterRefused(
                    "CUT_FILE", f"line {rows.line_num} has {len(row)} fields where the others have {width}"
                )
            try:
                listed.append(_listed(row))
            except (ValueError, InvalidOperation, KeyError, OverflowError) as error:
                raise MasterRefused("WRONG_LINE", f"line {rows.line_num}: {_told(error)}") from None
            if row[7] > newest and row[7][:2] == "20":
                newest = row[7]
    except csv.Error as error:
        raise MasterRefused("UNKNOWN_LAYOUT", f"line {rows.line_num}: {error}") from None
    return listed, _day(newest)


def _listed(row: list[str]) -> ListedInstrument:
    segment = SEGMENTS[int(row[11])]
    is_contract = segment == "FO"
    kind = int(row[2])
    names = CASH_TYPES if segment == "CM" else DERIVATIVE_TYPES
    option_type, strike = _option(row) if is_contract else (None, None)
    return ListedInstrument(
        symbol=row[9],
        name=row[1],
        fy_token=row[0],
        exchange=EXCHANGES[int(row[10])],
        segment=segment,
        instrument_type=names.get(kind, f"OTHER_{kind}"),
        isin=row[5],
        tick_size=_number(row[4]),
        lot_size=max(int(row[3]), INDEX_LOT),
        freeze_quantity=None,
        lower_band=None,
        upper_band=None,
        previous_close=None,
        expiry=_expiry(row[8]) if is_contract else None,
        strike=strike,
        option_type=option_type,
        underlying=row[13] or None,
        underlying_token=row[17] if is_contract and len(row) >= WITH_STRIKE else "",
        exchange_token=row[12],
    )


def _option(row: list[str]) -> tuple[str | None, Decimal | None]:
    """Type and strike by the columns; an old form has none, then the symbol says it."""
    if len(row) >= WITH_STRIKE:
        return (row[16], _number(row[15])) if row[16] in ("CE", "PE") else (None, None)
    parsed = parse_symbol(row[9])
    return (parsed.kind, parsed.strike) if parsed is not None and parsed.kind in ("CE", "PE") else (None, None)


@lru_cache(maxsize=20_000)
def _number(text: str) -> Decimal:
    found = Decimal(text)
    if not found.is_finite():
        raise ValueError(f"{text[:20]!r} is no number")
    return found


@lru_cache(maxsize=4096)
def _expiry(text: str) -> date | None:
    return datetime.fromtimestamp(int(text), UTC).astimezone(IST).date() if text else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _told(error: Exception) -> str:
    return f"unknown code {error}" if isinstance(error, KeyError) else str(error)[:120] or type(error).__name__


def read_json(reply: Reply) -> tuple[list[ListedInstrument], date | None]:
    """The lines of a JSON master and the newest day among them. UnexpectedReply where it is none."""
    listed = read_symbol_master(reply)
    master = fields.row(reply.json(), "symbol master")
    days = [str(line.get("lastUpdate", "")) for line in master.values() if isinstance(line, dict)]
    return listed, _day(max((day for day in days if day[:2] == "20"), default=""))
