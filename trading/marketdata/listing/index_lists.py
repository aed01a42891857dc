"""Lists of an index or an industry, from the exchange's CSV files, packed or not: membership and sectors by date."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from django.db import transaction

from trading.audit.record import record
from trading.domain.errors import TradingError
from trading.marketdata.listing.identities import instrument_named
from trading.marketdata.listing.instruments import set_sectors
from trading.marketdata.listing.universes import set_members
from trading.marketdata.models import Instrument, Universe

LARGEST = 5_000  # lines; no index has more members


class ListRefused(TradingError):
    """This file is no list of instruments. Nothing was changed."""


@dataclass(slots=True)
class ListReport:
    """What a list changed. Symbols."""

    universe: str
    listed: int = 0
    joined: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    sectors: dict[str, tuple[str, str]] = field(default_factory=dict)


def import_list(path: Path, *, universe: str, day: date, actor: str, source: str = "") -> ListReport:
    """From `day` on the universe has exactly these members, and they the file's industries as sectors.

    Columns: Symbol (or underlying), and if there Industry, Series, ISIN Code, Company Name. A symbol that was given up
    finds its instrument by its later name; one that no master knows is told in `unknown` and left out. Audited.
    Errors: ListRefused (CANNOT_READ, NOT_A_LIST, EMPTY_LIST, UNKNOWN_MEMBERS: less than half are known).
    """
    rows = _rows(path)
    report = ListReport(universe, listed=len(rows))
    found: dict[int, Instrument] = {}
    sectors: dict[str, str] = {}
    for symbol, sector in rows:
        instrument = instrument_named(symbol, day)
        if instrument is None:
            report.unknown.append(symbol)
            continue
        found[instrument.pk] = instrument
        if sector:
            sectors[instrument.symbol] = sector
    if len(found) < len(rows) / 2:
        raise ListRefused(
            "UNKNOWN_MEMBERS", f"only {len(found)} of {len(rows)} are known: take over the instrument master first"
        )
    with transaction.atomic():
        row, _ = Universe.objects.get_or_create(name=universe, defaults={"description": source[:200]})
        moves = set_members(row, found, day=day)
        names = dict(Instrument.objects.filter(pk__in=[*moves.joined, *moves.left]).values_list("pk", "symbol"))
        report.joined = sorted(names[pk] for pk in moves.joined)
        report.left = sorted(names[pk] for pk in moves.left)
        report.sectors = set_sectors(sectors, day=day, source=source or path.name)
        record(
            "universe.set", actor=actor, subject=universe, day=day, file=path.name, listed=report.listed,
            joined=report.joined, left=report.left, unknown=report.unknown, sectors=report.sectors,
        )  # fmt: skip
    return report


def _rows(path: Path) -> list[tuple[str, str]]:
    """Symbols in the desk's way and their industries."""
    try:
        body = path.read_bytes()
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        lines = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ListRefused("CANNOT_READ", f"{path.name} cannot be read: {type(error).__name__}") from None
    if not lines:
        raise ListRefused("EMPTY_LIST", f"{path.name} lists nothing")
    names = {str(name).strip().lower(): name for name in lines[0]}
    symbol = names.get("symbol") or names.get("underlying")
    if symbol is None or len(lines) > LARGEST:
        raise ListRefused("NOT_A_LIST", f"{path.name} has no column Symbol, or more than {LARGEST} lines")
    series, industry = names.get("series"), names.get("industry")
    found = []
    for line in lines:
        if name := (line[symbol] or "").strip():
            kind = (line[series] if series else "EQ") or "EQ"
            found.append((f"NSE:{name}-{kind.strip()}", (line[industry] or "").strip() if industry else ""))
    return found
