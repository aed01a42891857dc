"""Blocks in and out of the database. Rows travel in PostgreSQL's binary format: a text would double every byte."""

from collections.abc import Iterable, Sequence
from datetime import date

import psycopg
from django.db import connection
from psycopg.pq import Format

from trading.marketdata.packing.blocks import BlockRow, Packed, date_of

_COLUMNS = "series_id, first_day, bars, streamed, untrusted, base, unit, packed"
_TYPES = ["int8", "date", "int4", "int4", "int4", "int8", "int8", "bytea"]
_READ = "b.series_id, b.first_day - date '1970-01-01', b.bars, b.base, b.unit, b.packed"


def blocks_between(series: Iterable[int], first: date, last: date) -> list[BlockRow]:
    """Blocks of these series that begin from `first` to `last`, by series and day."""
    return _rows(
        f"SELECT {_READ} FROM marketdata_candleblock b"  # noqa: S608 - our own names
        " WHERE b.series_id = ANY(%s) AND b.first_day BETWEEN %s AND %s ORDER BY b.series_id, b.first_day",
        [list(series), first, last],
    )


def blocks_at(series: Sequence[int], days: Sequence[int]) -> list[BlockRow]:
    """Blocks of these (series, first day) pairs, by series and day."""
    return _rows(
        f"SELECT {_READ} FROM unnest(%s::bigint[], %s::date[]) AS given(series_id, first_day)"  # noqa: S608
        " JOIN marketdata_candleblock b USING (series_id, first_day) ORDER BY b.series_id, b.first_day",
        [list(series), [date_of(day) for day in days]],
    )


def any_before(series: Iterable[int], day: date) -> bool:
    """Whether there is an older block of any of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM unnest(%s::bigint[]) AS given(id) JOIN marketdata_candleblock b"
            " ON b.series_id = given.id AND b.first_day < %s)",
            [list(series), day],
        )
        return bool(cursor.fetchone()[0])


def insert_blocks(blocks: Sequence[Packed]) -> None:
    """Write blocks that are not there. The caller holds their series."""
    if not blocks:
        return
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY marketdata_candleblock ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(_TYPES)
        for one in blocks:
            copy.write_row(_as_row(one))


def update_blocks(blocks: Sequence[Packed]) -> None:
    """Write blocks over those that are there. The caller holds their series."""
    if not blocks:
        return
    columns = [list(column) for column in zip(*map(_as_row, blocks), strict=True)]
    arrays = ", ".join("%s::" + kind + "[]" for kind in _TYPES)
    given = f"FROM unnest({arrays}) AS g({_COLUMNS})"
    _rows(
        "UPDATE marketdata_candleblock b SET bars = g.bars, streamed = g.streamed, untrusted = g.untrusted, "  # noqa: S608
        f"base = g.base, unit = g.unit, packed = g.packed {given} "
        "WHERE b.series_id = g.series_id AND b.first_day = g.first_day",
        columns,
    )


def _as_row(one: Packed) -> tuple:
    return (
        one.series, date_of(one.first_day), one.bars, one.streamed, one.untrusted, one.base, one.unit,
        bytes(one.packed),
    )  # fmt: skip


def _rows(query: str, given: list) -> list[BlockRow]:
    """Run a statement with its parameters and its answer in binary, which Django's own cursors cannot."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.format = Format.BINARY
        cursor.execute(query, given)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []
