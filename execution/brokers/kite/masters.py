"""Zerodha's instrument dump. Source: Kite Connect v3, instruments: a CSV with a header, ticks and strikes in rupees.

Symbols are written in the desk's own way (`NSE:SBIN-EQ`): contracts are spelled alike by both brokers, shares carry a
series only when it is not EQ, indices have names of their own.
"""

import csv
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from execution.brokers.kite.symbols import from_kite
from execution.brokers.port import ListedInstrument
from trading.marketdata.listing.instruments import MasterRefused

HEADER_START = b"instrument_token,exchange_token,tradingsymbol"
COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike", "tick_size",
    "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
MARKETS = {"NSE": ("NSE", "CM"), "BSE": ("BSE", "CM"), "NFO": ("NSE", "FO"), "BFO": ("BSE", "FO")}
INDEX_CONTRACTS = frozenset(
    ["NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50", "SENSEX", "BANKEX", "SENSEX50"]
)  # names that contracts on indices go by


def read_csv(text: Iterable[str]) -> list[ListedInstrument]:
    """Lines of the exchanges the desk knows, without the others.

    MasterRefused: UNKNOWN_LAYOUT, CUT_FILE, WRONG_LINE.
    """
    csv.field_size_limit(4096)
    rows = csv.reader(text)
    listed: list[ListedInstrument] = []
    try:
        header = next(rows, [])
        if absent := [name for name in COLUMNS if name not in header]:
            raise MasterRefused("UNKNOWN_LAYOUT", f"no instrument dump: without column {', '.join(absent)}")
        at = {name: header.index(name) for name in COLUMNS}
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise MasterRefused("CUT_FILE", f"line {rows.line_num} has {len(row)} fields, the header {len(header)}")
            market = MARKETS.get(row[at["exchange"]])
            if market is None:
                continue
            try:
                listed.append(_listed(row, at, market))
            except (ValueError, InvalidOperation) as error:
                raise MasterRefused("WRONG_LINE", f"line {rows.line_num}: {str(error)[:120]}") from None
    except csv.Error as error:
        raise MasterRefused("UNKNOWN_LAYOUT", f"line {rows.line_num}: {error}") from None
    return listed


def _listed(row: list[str], at: dict[str, int], market: tuple[str, str]) -> ListedInstrument:
    exchange, segment = market
    written, kind, name = row[at["tradingsymbol"]], row[at["instrument_type"]], row[at["name"]]
    is_index = row[at["segment"]] == "INDICES"
    is_contract = segment == "FO"
    return ListedInstrument(
        symbol=from_kite(row[at["exchange"]], written, is_index=is_index),
        name=written if is_contract else name or written,
        fy_token="",
        exchange=exchange,
        segment=segment,
        instrument_type=_kind(kind, name, is_contract, is_index),
        isin="",
        tick_size=_number(row[at["tick_size"]]) or Decimal("0.05"),  # indices hold zero
        lot_size=max(int(row[at["lot_size"]]), 1),
        freeze_quantity=None,
        lower_band=None,
        upper_band=None,
        previous_close=None,
        expiry=_day(row[at["expiry"]]) if is_contract else None,
        strike=_number(row[at["strike"]]) if kind in ("CE", "PE") else None,
        option_type=kind if kind in ("CE", "PE") else None,
        underlying=name if is_contract else None,
        kite_token=row[at["instrument_token"]],
        exchange_token=row[at["exchange_token"]],
    )


def _kind(kind: str, name: str, is_contract: bool, is_index: bool) -> str:
    if is_contract:
        return f"{'FUT' if kind == 'FUT' else 'OPT'}{'IDX' if name in INDEX_CONTRACTS else 'STK'}"
    return "INDEX" if is_index else "EQ"


@lru_cache(maxsize=20_000)
def _number(text: str) -> Decimal:
    found = Decimal(text)
    if not found.is_finite():
        raise ValueError(f"{text[:20]!r} is no number")
    return found


@lru_cache(maxsize=4096)
def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
