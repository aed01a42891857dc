"""Which source live prices come from, with failover and hysteresis. Pure: no clock, no I/O.

In order of preference: the stream; quotes asked for again and again; the same of a second broker; and when there is
nothing, the close of the last candle, which is marked and never traded on. A source that fails is left at once; a
better one is returned to only after it has been good for a while, so that a flickering line does not make prices
flicker.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class SourceKind(StrEnum):
    """Where a price came from, best first."""

    STREAM = "STREAM"
    POLL = "POLL"
    SECOND = "SECOND"
    CANDLE = "CANDLE"


ORDER: Final = tuple(SourceKind)


@dataclass(frozen=True, slots=True)
class Limits:
    """Wall seconds. `silent_s`: how long a source may bring nothing while the market trades; `return_s`: how long a
    better one must have been good before it is gone back to."""

    silent_s: Mapping[SourceKind, float] = field(
        default_factory=lambda: {SourceKind.STREAM: 60.0, SourceKind.POLL: 20.0, SourceKind.SECOND: 20.0}
    )
    return_s: float = 10.0


@dataclass(slots=True)
class Health:
    """What is known of one source. Wall time as UNIX timestamps."""

    heard_at: float | None = None
    good_since: float | None = None
    failed_at: float | None = None
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Switched:
    """From one source to another, and why."""

    before: SourceKind
    after: SourceKind
    why: str

    @property
    def is_worse(self) -> bool:
        return ORDER.index(self.after) > ORDER.index(self.before)


class SourceSwitch:
    """Decides between the sources of one feed. Tell it what is heard and what fails; ask it now and then."""

    def __init__(self, at: float, *, limits: Limits | None = None, available: Iterable[SourceKind] = ORDER) -> None:
        self.limits = limits or Limits()
        self.available = [kind for kind in ORDER if kind in set(available) | {SourceKind.CANDLE}]
        self.active = self.available[0]
        self.since = at
        self.why = ""
        self._expecting_since = at
        self._expecting = False
        self.health: dict[SourceKind, Health] = {kind: Health() for kind in self.available}

    def heard(self, kind: SourceKind, at: float) -> None:
        """A source brought a price at this instant."""
        health = self.health.get(kind)
        if health is None or (health.heard_at is not None and at <= health.heard_at):
            return
        if health.failed_at is not None and at <= health.failed_at:
            return
        quiet = health.heard_at is not None and at - health.heard_at > self._silent_s(kind)
        if health.good_since is None or quiet or health.failed_at is not None:
            health.good_since = at
        health.heard_at, health.failed_at, health.why = at, None, ""

    def failed(self, kind: SourceKind, at: float, why: str) -> None:
        """A source cannot be asked, or its line is down."""
        if kind in self.health:
            health = self.health[kind]
            health.failed_at, health.good_since, health.why = at, None, why

    def restored(self, kind: SourceKind) -> None:
        """Its line is up again. Whether it brings prices is to be seen."""
        health = self.health.get(kind)
        if health is not None and health.failed_at is not None:
            health.failed_at, health.why = None, ""

    def judge(self, at: float, *, expecting: bool) -> Switched | None:
        """The source to use from now on; None: as before. `expecting`: prices should be moving now.

        While the market is closed silence says nothing, and a silence counts from the open at the earliest.
        """
        if expecting and not self._expecting:
            self._expecting_since = at
        self._expecting = expecting
        wanted = self._best(at)
        if wanted is self.active:
            return None
        better = ORDER.index(wanted) < ORDER.index(self.active)
        reason = "good again" if better else self._trouble(self.active, at)
        switched = Switched(self.active, wanted, reason)
        self.active, self.since, self.why = wanted, at, f"{switched.before} {reason}" if not better else reason
        return switched

    def wanted(self) -> list[SourceKind]:
        """Sources that must be asked now: the active one, and better ones that could be back."""
        return self.available[: self.available.index(self.active) + 1]

    def _best(self, at: float) -> SourceKind:
        for kind in self.available:
            better = ORDER.index(kind) < ORDER.index(self.active)
            if not self._trouble(kind, at) and (not better or self._is_proven(kind, at)):
                return kind
        return SourceKind.CANDLE

    def _is_proven(self, kind: SourceKind, at: float) -> bool:
        """Good for long enough, and still bringing prices. While the market is closed there is nothing to prove."""
        if not self._expecting:
            return True
        health = self.health[kind]
        if health.good_since is None or health.heard_at is None:
            return False
        return at - health.good_since >= self.limits.return_s and at - health.heard_at <= self.limits.return_s

    def _trouble(self, kind: SourceKind, at: float) -> str:
        """Why a source cannot be used; empty: it can. One that was never asked may be tried."""
        health = self.health[kind]
        if health.failed_at is not None:
            return health.why or "failed"
        if not self._expecting:
            return ""
        limit = self._silent_s(kind)
        if kind is SourceKind.STREAM:
            silent = at - max(health.heard_at or self._expecting_since, self._expecting_since)
            return f"brought no price for {silent:.0f} s" if silent > limit else ""
        if health.heard_at is None:
            return ""
        silent = at - max(health.heard_at, self.since if kind is self.active else 0.0)
        return f"brought no price for {silent:.0f} s" if kind is self.active and silent > limit else ""

    def _silent_s(self, kind: SourceKind) -> float:
        return self.limits.silent_s.get(kind, float("inf"))

    def as_dict(self) -> dict[str, Any]:
        """The state, for pages and other processes."""
        return {
            "active": self.active.value, "since": self.since, "why": self.why, "expecting": self._expecting,
            "sources": {kind.value: health.as_dict() for kind, health in self.health.items()},
        }  # fmt: skip


def stale_symbols(ages: Mapping[str, float], wanted: Iterable[str], *, limit_s: float) -> dict[str, float | None]:
    """Symbols without a price younger than `limit_s` wall seconds, with its age; None: there never was one."""
    return {symbol: ages.get(symbol) for symbol in wanted if symbol not in ages or ages[symbol] > limit_s}
