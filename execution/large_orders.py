"""Large orders as pages and programs show them: how far each is, and when the next of it is due."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from execution.models import ParentOrder
from execution.services.parent_advance import filled_by_parent


@dataclass(frozen=True, slots=True)
class Worked:
    """One large order: units filled, at work and to come; the average price of what filled, rupees a unit."""

    parent: ParentOrder
    filled: int
    works: int
    average_price: Decimal | None
    time_pct: int

    @property
    def to_come(self) -> int:
        return max(0, self.parent.quantity - self.filled - self.works) if self.parent.is_live else 0

    @property
    def missing(self) -> int:
        """What was never bought or sold of one that is over."""
        return 0 if self.parent.is_live else max(0, self.parent.quantity - self.filled)

    @property
    def filled_pct(self) -> int:
        return int(100 * self.filled / self.parent.quantity) if self.parent.quantity else 0


def worked(parents: list[ParentOrder], *, now: datetime) -> list[Worked]:
    """In their order; one query however many they are. `now` is venue time."""
    sums = filled_by_parent(parents)
    found = []
    for parent in parents:
        filled, works, paid = sums.get(parent.pk, (0, 0, 0))
        span = (parent.ends_at - parent.starts_at).total_seconds()
        passed = (now - parent.starts_at).total_seconds() / span if span > 0 else 1
        price = (Decimal(paid) / 100 / filled).quantize(Decimal("0.0001")) if filled else None
        found.append(Worked(parent, filled, works, price, int(100 * min(1, max(0, passed)))))
    return found
