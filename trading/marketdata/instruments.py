"""What can be traded: the broker's instrument master, taken over once a day, with every change on record."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from django.db import transaction

from trading.audit.record import record
from trading.marketdata.models import Instrument
from trading.venue.sessions import exchange_date

_TAKEN = (
    "name", "exchange", "segment", "instrument_type", "fy_token", "isin", "tick_size", "lot_size", "freeze_quantity",
)  # fmt: skip


class Listed(Protocol):
    """A line of a master, as far as this floor needs it. Tick in rupees, lot and freeze in units.

    `sector` may be None or absent (masters seldom know it): what is known then stays.
    """

    @property
    def symbol(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def segment(self) -> str: ...
    @property
    def instrument_type(self) -> str: ...
    @property
    def fy_token(self) -> str: ...
    @property
    def isin(self) -> str: ...
    @property
    def tick_size(self) -> Decimal: ...
    @property
    def lot_size(self) -> int: ...
    @property
    def freeze_quantity(self) -> int | None: ...


@dataclass(slots=True)
class Diff:
    """What a refresh changed. `changed`: symbol → field → (before, after), as text."""

    added: list[str] = field(default_factory=list)
    changed: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # lines that cannot be true: symbol → why

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.returned or self.retired)


@transaction.atomic
def refresh_instruments(listed: Iterable[Listed], *, now: datetime, retire: bool = False, actor: str = "desk") -> Diff:
    """Take over a master: add, change, and (with `retire`) put out of use what its exchange and segment lists no more.

    `now` is venue time; the day of it dates the master. `retire` is for a whole master, never for a part of one. An
    instrument is never deleted. A line without symbol, tick or lot is refused and told, the others are taken. Audited.
    """
    day, diff = exchange_date(now), Diff()
    lines: dict[str, Listed] = {}
    for line in listed:
        if why := _wrong(line):
            diff.refused[line.symbol] = why
        else:
            lines[line.symbol] = line
    known = {one.symbol: one for one in Instrument.objects.select_for_update().filter(symbol__in=lines).order_by("id")}
    new = [
        Instrument(symbol=symbol, master_date=day, **_values(line))
        for symbol, line in lines.items()
        if symbol not in known
    ]
    Instrument.objects.bulk_create(new, ignore_conflicts=True)
    diff.added = sorted(one.symbol for one in new)
    for symbol, instrument in known.items():
        _take_over(instrument, lines[symbol], diff)
        instrument.master_date = day
    Instrument.objects.bulk_update(known.values(), [*_TAKEN, "sector", "active", "master_date"], batch_size=500)
    if retire:
        _retire(lines, diff)
    if diff or diff.refused:
        record(
            "instruments.refreshed", actor=actor, added=diff.added, changed=diff.changed, returned=diff.returned,
            retired=diff.retired, refused=diff.refused, listed=len(lines),
        )  # fmt: skip
    return diff


def _wrong(line: Listed) -> str:
    if not line.symbol or ":" not in line.symbol:
        return "no symbol"
    if not line.tick_size.is_finite() or line.tick_size <= 0:
        return f"tick {line.tick_size}"
    if line.lot_size < 1:
        return f"lot {line.lot_size}"
    for name in ("symbol", *_TAKEN):
        limit = getattr(Instrument._meta.get_field(name), "max_length", None)
        if limit is not None and len(getattr(line, name)) > limit:
            return f"{name} of more than {limit} characters"
    return ""


def _values(line: Listed) -> dict[str, Any]:
    found = {name: getattr(line, name) for name in _TAKEN}
    if sector := getattr(line, "sector", None):
        found["sector"] = sector
    return found


def _take_over(instrument: Instrument, line: Listed, diff: Diff) -> None:
    changes: dict[str, tuple[str, str]] = {}
    for name, after in _values(line).items():
        before = getattr(instrument, name)
        if before != after:
            changes[name] = (str(before), str(after))
            setattr(instrument, name, after)
    if changes:
        diff.changed[instrument.symbol] = changes
    if not instrument.active:
        instrument.active = True
        diff.returned.append(instrument.symbol)


def _retire(lines: dict[str, Listed], diff: Diff) -> None:
    for exchange, segment in sorted({(line.exchange, line.segment) for line in lines.values()}):
        gone = Instrument.objects.filter(exchange=exchange, segment=segment, active=True).exclude(symbol__in=lines)
        diff.retired += sorted(gone.values_list("symbol", flat=True))
        gone.update(active=False)
