"""Orders that wait at the broker for a price (GTT): kept over days, placed when their price is reached.

A trigger looks at the last price of each tick. What it then places is an ordinary limit order of the day, which risk
management may still reject. Of two legs the first to be reached ends the other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ACTIVE, TRIGGERED, CANCELLED, REJECTED, EXPIRED = "active", "triggered", "cancelled", "rejected", "expired"
YEAR_S = 365 * 86_400.0


@dataclass
class Leg:
    """Prices in paise. `above`: it waits for the price to rise to `trigger`, else to fall to it."""

    trigger: int
    limit: int
    qty: int
    above: bool

    def reached(self, last: int) -> bool:
        return last >= self.trigger if self.above else last <= self.trigger


@dataclass
class Trigger:
    """One GTT of a user; `legs` one or two, rising. Times are venue time, epoch seconds."""

    id: int
    user: str
    symbol: str
    side: int
    product: str
    legs: list[Leg]
    last: int  # paise, when it was placed or changed
    created_at: float
    updated_at: float
    status: str = ACTIVE
    message: str = ""
    fired: int = -1  # which leg
    order_id: str = ""

    @property
    def is_active(self) -> bool:
        return self.status == ACTIVE

    def reached(self, last: int) -> int | None:
        """Which leg a price has reached."""
        return next((at for at, leg in enumerate(self.legs) if leg.reached(last)), None)

    def end(self, status: str, at: float, message: str = "") -> None:
        self.status, self.message, self.updated_at = status, message, at


def legs_of(last: int, wanted: list[tuple[int, int, int]]) -> list[Leg]:
    """(trigger, limit, qty) of each leg as legs that wait from `last` on. ValueError with the reason in words."""
    legs = [Leg(trigger, limit, qty, trigger > last) for trigger, limit, qty in sorted(wanted)]
    if any(leg.trigger == last for leg in legs):
        raise ValueError("the trigger price is the last price")
    if len(legs) == 2 and (legs[0].above or not legs[1].above):
        raise ValueError("of two triggers one must be below the last price and one above it")
    return legs


@dataclass
class TriggerShelf:
    """All triggers of the exchange, the ended ones included. `changed` are those to be written down."""

    all: dict[int, Trigger] = field(default_factory=dict)
    sequence: int = 0
    changed: dict[int, Trigger] = field(default_factory=dict)

    def add(self, **values: Any) -> Trigger:
        self.sequence += 1
        return self.note(Trigger(id=self.sequence, **values))

    def note(self, trigger: Trigger) -> Trigger:
        self.all[trigger.id] = self.changed[trigger.id] = trigger
        return trigger

    def of(self, user: str) -> list[Trigger]:
        return [one for one in self.all.values() if one.user == user]

    def waiting(self) -> list[Trigger]:
        return [one for one in self.all.values() if one.is_active]

    def rows(self, triggers: dict[int, Trigger]) -> list[dict[str, Any]]:
        return [asdict(one) for one in triggers.values()]

    def restore(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            one = Trigger(**{**row, "legs": [Leg(**leg) for leg in row["legs"]]})
            self.all[one.id] = one
            self.sequence = max(self.sequence, one.id)
