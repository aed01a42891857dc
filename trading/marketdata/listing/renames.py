"""Renames and mergers that are public knowledge, for rows and files that carry neither ISIN nor token.

A master tells a rename by itself where both sides have an ISIN or a token. Candles imported from files have only a
name: `renames.csv` beside it says what that name became.
"""

import csv
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True, slots=True)
class Rename:
    """From `from_date` on, what was `old` trades as `new`. MERGED: the old share is gone, its holders got new ones."""

    from_date: date
    old: str
    new: str
    kind: str
    source: str


@lru_cache(maxsize=1)
def all_renames() -> tuple[Rename, ...]:
    """The shipped list, oldest first."""
    with FILE.open(newline="", encoding="utf-8") as text:
        rows = [
            Rename(date.fromisoformat(row["from"]), row["old"], row["new"], row["kind"], row["source"])
            for row in csv.DictReader(text)
        ]
    return tuple(sorted(rows, key=lambda one: one.from_date))


def known_renames() -> dict[str, str]:
    """New symbol → the symbol it had before, mergers left out."""
    return {one.new: one.old for one in all_renames() if one.kind == "RENAMED"}


def successor(symbol: str, on_date: date | None = None) -> str:
    """What a symbol became, followed through later renames. `on_date`: as it was called on that day."""
    for one in all_renames():
        if one.kind == "RENAMED" and one.old == symbol and (on_date is None or on_date >= one.from_date):
            symbol = one.new
    return symbol


def names_between(old: str, new: str) -> tuple[Rename, ...]:
    """The renames that lead from one symbol to another, oldest first; none: the list knows no way."""
    found: list[Rename] = []
    for one in all_renames():
        if one.kind == "RENAMED" and one.old == (found[-1].new if found else old):
            found.append(one)
            if one.new == new:
                return tuple(found)
    return ()
