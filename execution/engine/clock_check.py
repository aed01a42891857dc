"""Is this machine's clock right? Held against the database's, and against the time on the broker's replies.

A clock that is off by more than a second is told; by more than two, nothing is entered: ages of prices and signals,
leases and the ends of orders would all be wrong. Time-outs do not suffer: they are counted by a clock that never jumps.
"""

from dataclasses import dataclass

from django.db import connection
from django.utils import timezone

from execution.brokers.port import BrokerGateway

DEGRADED_S, BLOCKED_S = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class ClockState:
    """`cause` is empty where the clock is right; `blocks` says that nothing may be entered by it."""

    cause: str = ""
    blocks: bool = False


RIGHT = ClockState()


def judge_clock(skews: dict[str, float | None]) -> ClockState:
    """By the largest of the skews, in seconds by whose clock ("the database's" …); None: it could not be asked. Pure.

    Positive: the other clock is ahead of ours.
    """
    known = {whose: skew for whose, skew in skews.items() if skew is not None}
    if not known:
        return RIGHT
    whose, skew = max(known.items(), key=lambda one: abs(one[1]))
    if abs(skew) <= DEGRADED_S:
        return RIGHT
    way = "behind" if skew > 0 else "ahead of"
    return ClockState(f"this machine's clock is {abs(skew):.1f} s {way} {whose}", abs(skew) > BLOCKED_S)


def read_clock(gateway: BrokerGateway) -> ClockState:
    """Ask the database; of the broker the newest reply is taken. No call is made for it."""
    return judge_clock({"the database's": _database_skew_s(), "the broker's": gateway.clock_skew_s()})


def _database_skew_s() -> float:
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs = cursor.fetchone()[0]
    after = timezone.now()
    return float((theirs - (before + (after - before) / 2)).total_seconds())
