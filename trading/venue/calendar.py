"""The dated facts of the exchange: which days trade, which hours hold from when, which weekday contracts expire.

None of it is code. The shipped tables are `data/days.csv`, `data/hours.csv` and `data/expiries.csv`, each row with its
source; whoever runs the desk may hand in a `Calendar` with more or other rows (`use`). A day that no calendar knows is
closed. From October 2019 to 21 August 2026 every closed weekday and every weekend session is confirmed by the
exchange's own price archive; days before follow the list of their year, later days of 2026 NSE's circular of
2025-12-12. 2026-01-15 was declared a holiday three days before: a calendar known in advance is never final.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

Hours: TypeAlias = tuple[tuple[time, time], ...]
F = TypeVar("F", bound=Callable[..., Any])

DATA: Final = Path(__file__).parent / "data"
SHIPPED_FROM: Final = date(2019, 1, 1)
SHIPPED_TO: Final = date(2026, 12, 31)
WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SPAN = re.compile(r"(?:(?P<phase>[A-Z_]+) )?(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)(?:~(?P<random>\d{1,2}))?")


class SessionKind(StrEnum):
    """Which rule of hours applies to an instrument."""

    EQUITY = "EQUITY"
    EQUITY_DERIVATIVE_STOCK = "EQUITY_DERIVATIVE_STOCK"  # a share that has derivatives: closes by auction
    DERIVATIVES = "DERIVATIVES"


class DayKind(StrEnum):
    """What is unusual about a day."""

    CLOSED = "CLOSED"
    FULL = "FULL"  # a weekend day with ordinary hours
    HOURS = "HOURS"  # hours of its own: muhurat, a drill, an outage


class SubPhase(StrEnum):
    """What the exchange does, to the minute. Orders are taken in ENTRY, LIMIT_ONLY, CONTINUOUS and POST_CLOSE."""

    PREOPEN_ENTRY = "PREOPEN_ENTRY"
    PREOPEN_LIMIT_ONLY = "PREOPEN_LIMIT_ONLY"
    PREOPEN_MATCHING = "PREOPEN_MATCHING"
    PREOPEN_BUFFER = "PREOPEN_BUFFER"
    CONTINUOUS = "CONTINUOUS"
    REFERENCE_PRICE = "REFERENCE_PRICE"
    AUCTION_ENTRY = "AUCTION_ENTRY"
    AUCTION_LIMIT_ONLY = "AUCTION_LIMIT_ONLY"
    AUCTION_MATCHING = "AUCTION_MATCHING"
    POST_CLOSE = "POST_CLOSE"


@dataclass(frozen=True, slots=True)
class Span:
    """A phase by the clock in India. It may end at random within its last `random_end_minutes`."""

    phase: SubPhase
    opens: time
    closes: time
    random_end_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """One unusual day. `certain`: its hours were seen or announced; otherwise they are habit, good for simulation."""

    kind: DayKind
    name: str
    hours: Hours = ()
    certain: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True)
class ExpiryRule:
    """On which weekday (0 is Monday; None: no such contracts) the contracts of a cycle end, from a day on."""

    from_date: date
    exchange: str
    underlying: str  # * for all others
    cycle: str  # WEEKLY, MONTHLY
    weekday: int | None
    source: str = ""


Plan: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True)
class Calendar:
    """Everything dated. `plans`: for each kind of session (first day, phases of an ordinary day), rising."""

    known_from: date
    known_to: date
    days: Mapping[date, Day]
    plans: Mapping[SessionKind, tuple[tuple[date, Plan], ...]]
    expiries: tuple[ExpiryRule, ...] = field(default=())

    def knows(self, day: date) -> bool:
        return self.known_from <= day <= self.known_to

    def plan_on(self, day: date, kind: SessionKind) -> Plan:
        """The phases of an ordinary day of this kind. Days before the first plan follow the first."""
        plans = self.plans[kind]
        found = plans[0][1]
        for first, plan in plans:
            if first <= day:
                found = plan
        return found

    def with_rows(
        self, *, days: Mapping[date, Day], plans: Iterable[tuple[date, SessionKind, Plan]] = (),
        expiries: Iterable[ExpiryRule] = (), known_to: date | None = None,
    ) -> Calendar:  # fmt: skip
        """This calendar with more rows; a row of the same day and kind takes the place of the shipped one."""
        merged = {kind: dict(rows) for kind, rows in self.plans.items()}
        for first, kind, plan in plans:
            merged[kind][first] = plan
        rules = {(r.from_date, r.exchange, r.underlying, r.cycle): r for r in (*self.expiries, *expiries)}
        return Calendar(
            known_from=self.known_from,
            known_to=max(self.known_to, known_to or self.known_to),
            days={**self.days, **days},
            plans={kind: tuple(sorted(rows.items())) for kind, rows in merged.items()},
            expiries=tuple(sorted(rules.values(), key=lambda rule: rule.from_date)),
        )


# -- reading rows ------------------------------------------------------------------------------------------------------


def parse_hours(text: str) -> Hours:
    """`09:15-11:40 15:45-17:00` as pairs of times. ValueError where it is not that, or out of order."""
    spans = [_span(part) for part in text.split()]
    if not spans or any(phase is not None for phase, *_ in spans):
        raise ValueError(f"hours are written 09:15-15:30, not {text!r}")
    _in_order([(opens, closes) for _, opens, closes, _ in spans], text)
    return tuple((opens, closes) for _, opens, closes, _ in spans)


def parse_plan(text: str) -> Plan:
    """`CONTINUOUS 09:15-15:30; POST_CLOSE 15:40-16:00` as spans; `~2`: a random end in the last two minutes."""
    spans = []
    for part in text.split(";"):
        phase, opens, closes, random_end = _span(part.strip())
        if phase is None or phase not in SubPhase.__members__:
            raise ValueError(f"{part.strip()!r} begins with none of {', '.join(SubPhase)}")
        spans.append(Span(SubPhase(phase), opens, closes, random_end))
    _in_order([(one.opens, one.closes) for one in spans], text)
    if not any(one.phase is SubPhase.CONTINUOUS for one in spans):
        raise ValueError("a trading day has a CONTINUOUS phase")
    return tuple(spans)


def _span(text: str) -> tuple[str | None, time, time, int]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"a span is written 09:15-15:30, not {text!r}")
    opens, closes = time.fromisoformat(found["opens"]), time.fromisoformat(found["closes"])
    if opens >= closes:
        raise ValueError(f"{text!r} ends before it begins")
    return found["phase"], opens, closes, int(found["random"] or 0)


def _in_order(spans: list[tuple[time, time]], text: str) -> None:
    for (_, ends), (begins, _) in pairwise(spans):
        if begins < ends:
            raise ValueError(f"spans overlap or are out of order in {text!r}")


def parse_weekday(text: str) -> int | None:
    """MON … SUN as 0 … 6; NONE: there are no such contracts any more."""
    if text == "NONE":
        return None
    if text not in WEEKDAYS:
        raise ValueError(f"{text!r} is none of {', '.join(WEEKDAYS)}, NONE")
    return WEEKDAYS.index(text)


def day_of(*, kind: str, name: str, hours: str, certain: bool, source: str) -> Day:
    """A row as a day. ValueError: an unknown kind, or hours where there are none to be, or none where there are."""
    found = DayKind(kind)
    if (found is DayKind.HOURS) != bool(hours.strip()):
        raise ValueError("hours belong to a day of the kind HOURS, and to no other")
    return Day(found, name, parse_hours(hours) if hours.strip() else (), certain, source)


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


@lru_cache(maxsize=1)
def shipped() -> Calendar:
    """The calendar that comes with the desk."""
    plans: dict[SessionKind, list[tuple[date, Plan]]] = {kind: [] for kind in SessionKind}
    for row in _rows("hours.csv"):
        plans[SessionKind(row["kind"])].append((date.fromisoformat(row["from"]), parse_plan(row["phases"])))
    return Calendar(
        known_from=SHIPPED_FROM,
        known_to=SHIPPED_TO,
        days={
            date.fromisoformat(row["date"]): day_of(
                kind=row["kind"], name=row["name"], hours=row["hours"], certain=row["certain"] == "yes",
                source=row["source"],
            )
            for row in _rows("days.csv")
        },
        plans={kind: tuple(sorted(rows, key=lambda row: row[0])) for kind, rows in plans.items()},
        expiries=tuple(
            ExpiryRule(
                date.fromisoformat(row["from"]), row["exchange"], row["underlying"], row["cycle"],
                parse_weekday(row["weekday"]), row["source"],
            )
            for row in _rows("expiries.csv")
        ),
    )  # fmt: skip


# -- the calendar in force ---------------------------------------------------------------------------------------------

_in_force: Calendar | None = None
_memories: list[Any] = []


def current() -> Calendar:
    """The calendar in force in this process: the one handed in last, else the shipped one."""
    return _in_force or shipped()


def use(calendar: Calendar | None) -> None:
    """From now on this calendar; None: the shipped one. What was worked out from the old one is forgotten."""
    global _in_force
    _in_force = calendar
    for memory in _memories:
        memory.cache_clear()


def remembered(maxsize: int) -> Callable[[F], F]:
    """`lru_cache` for what follows from the calendar: forgotten when another one comes into force."""

    def wrap(function: F) -> F:
        memory: Any = lru_cache(maxsize=maxsize)(function)
        _memories.append(memory)
        return memory  # type: ignore[no-any-return]

    return wrap
