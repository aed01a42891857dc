"""Instrument rows by the hundred thousand: read as plain tuples, written by COPY."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection
from django.db.models import Q

from trading.marketdata.models import Instrument

_VALUES = (
    "name", "exchange", "segment", "instrument_type", "fy_token", "kite_token", "exchange_token", "isin", "tick_size",
    "lot_size", "freeze_quantity", "underlying_name", "expiry", "strike", "option_type",
)  # fmt: skip
_OWN = ("id", "symbol", "active", "listed_from", "master_date")
_TYPES = {
    "tick_size": "numeric(8,4)", "lot_size": "integer", "freeze_quantity": "integer", "expiry": "date",
    "strike": "numeric(14,4)", "active": "boolean",
}  # fmt: skip


@dataclass(slots=True)
class Found:
    """An instrument as it is stored."""

    pk: int
    symbol: str
    active: bool
    listed_from: date | None
    master_date: date | None
    values: dict[str, Any]

    @property
    def market(self) -> str:
        return f"{self.values['exchange']} {self.values['segment']}"

    @property
    def expiry(self) -> date | None:
        expiry: date | None = self.values["expiry"]
        return expiry


def stored_rows(markets: Iterable[str], symbols: Sequence[str]) -> list[Found]:
    """All instruments of these markets ("NSE CM"), and whoever else has one of these symbols. Expired ones are left
    out unless they are listed: a contract that is over neither comes back nor is renamed."""
    own_markets = Q(pk__in=[])
    for market in markets:
        exchange, _, segment = market.partition(" ")
        own_markets |= Q(exchange=exchange, segment=segment) & (Q(expiry__isnull=True) | Q(active=True))
    found = _found(own_markets)
    left = set(symbols) - {one.symbol for one in found}
    return found + _found(Q(symbol__in=left)) if left else found


def _found(wanted: Q) -> list[Found]:
    rows = Instrument.objects.filter(wanted).order_by().values_list(*_OWN, *_VALUES)
    own = len(_OWN)
    found = []
    for row in rows.iterator(chunk_size=20_000):
        pk, symbol, active, listed_from, master_date = row[:own]
        found.append(Found(pk, symbol, active, listed_from, master_date, dict(zip(_VALUES, row[own:], strict=True))))
    return found


def insert_new(new: Sequence[tuple[str, Mapping[str, Any]]], *, day: date) -> dict[str, int]:
    """Add instruments: symbol and the values of a line. Symbol → id."""
    if not new:
        return {}
    columns = ("symbol", *_VALUES)
    with connection.cursor() as cursor:
        _incoming(cursor, columns, ((symbol, *(values[name] for name in _VALUES)) for symbol, values in new))
        listed = ", ".join(columns)
        cursor.execute(
            f"INSERT INTO marketdata_instrument ({listed}, sector, has_derivatives, active, listed_from, master_date)"  # noqa: S608 - our own names
            f" SELECT {listed}, '', false, true, %s, %s FROM incoming_listing RETURNING symbol, id",
            [day, day],
        )
        return dict(cursor.fetchall())


def update_changed(
    rows: Mapping[int, Found], touched: Mapping[int, Mapping[str, Any]], *, day: date, listed: Sequence[int]
) -> None:
    """Write what changed: id → column → value. All that are listed carry the master's day."""
    columns = ("id", "symbol", "active", *_VALUES)
    with connection.cursor() as cursor:
        if touched:
            freed = [pk for pk, values in touched.items() if "symbol" in values]
            if freed:  # names may go round in a circle: give them all back first
                cursor.execute("UPDATE marketdata_instrument SET symbol = '#' || id WHERE id = ANY(%s)", [freed])
            _incoming(
                cursor, columns,
                (
                    (
                        pk, values.get("symbol", rows[pk].symbol), values.get("active", rows[pk].active),
                        *(values.get(name, rows[pk].values[name]) for name in _VALUES),
                    )
                    for pk, values in touched.items()
                ),
            )  # fmt: skip
            sets = ", ".join(f"{name} = i.{name}" for name in columns[1:])
            cursor.execute(
                f"UPDATE marketdata_instrument m SET {sets} FROM incoming_listing i WHERE i.id = m.id"  # noqa: S608 - our own names
            )
        cursor.execute(
            "UPDATE marketdata_instrument SET master_date = %s, listed_from = coalesce(listed_from, %s)"
            " WHERE id = ANY(%s) AND (master_date IS DISTINCT FROM %s OR listed_from IS NULL)",
            [day, day, list(listed), day],
        )


def insert_terms(terms: Sequence[tuple[int, Mapping[str, Any]]], *, day: date, source: str) -> None:
    """Tick, lot and freeze of instruments from a day on; a second master of the same day corrects the first."""
    if not terms:
        return
    columns = ("instrument_id", "tick_size", "lot_size", "freeze_quantity")
    with connection.cursor() as cursor:
        _incoming(cursor, columns, ((pk, *(values[name] for name in columns[1:])) for pk, values in terms))
        listed = ", ".join(columns)
        cursor.execute(
            f"INSERT INTO marketdata_instrumentterms ({listed}, from_date, source)"  # noqa: S608 - our own names
            f" SELECT {listed}, %s, %s FROM incoming_listing"
            " ON CONFLICT (instrument_id, from_date) DO UPDATE SET tick_size = excluded.tick_size,"
            " lot_size = excluded.lot_size, freeze_quantity = excluded.freeze_quantity, source = excluded.source",
            [day, source],
        )


def tie_contracts(ties: Sequence[tuple[str, str, int]]) -> None:
    """Tie contracts to what they are on: exchange, name of the underlying, its instrument's id."""
    if not ties:
        return
    exchanges, names, ids = zip(*ties, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_instrument m SET underlying_id = t.id"
            " FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS t(exchange, name, id)"
            " WHERE m.underlying_name = t.name AND m.exchange = t.exchange AND m.segment = 'FO' AND m.active"
            " AND m.underlying_id IS DISTINCT FROM t.id",
            [list(exchanges), list(names), list(ids)],
        )


def _incoming(cursor: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    kinds = ", ".join(
        f"{name} {'bigint' if name in ('id', 'instrument_id') else _TYPES.get(name, 'text')}" for name in columns
    )
    cursor.execute("DROP TABLE IF EXISTS incoming_listing")
    cursor.execute(f"CREATE TEMPORARY TABLE incoming_listing ({kinds}) ON COMMIT DROP")
    with cursor.copy(f"COPY incoming_listing ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute("ANALYZE incoming_listing")
