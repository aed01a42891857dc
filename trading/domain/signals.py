"""An opinion about one instrument, before anybody has decided how much of it is allowed."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from trading.domain.orders import Side


@dataclass(frozen=True, slots=True)
class SignalDraft:
    """Entry, stop and target (None: none) in rupees on the tick. `bar_at`: close of the deciding bar, venue time."""

    instrument_id: int
    side: Side
    entry: Decimal
    stop: Decimal
    target: Decimal | None
    bar_at: datetime
    dedupe_key: str
    explanation: str
    features: dict[str, float] = field(default_factory=dict)
    score: float = 0.0
