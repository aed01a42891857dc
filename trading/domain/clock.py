"""Two kinds of time. Wall time is the machine's: ages, leases, time-outs. Venue time is the market's: sessions,
bars, fills. They are one on a live exchange and part ways on a simulated one, where a session may run at 60×."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")


def running_s() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended; only differences count."""
    return time.clock_gettime(_GOES_ON)


_GOES_ON: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class VirtualClock:
    """Venue time as a straight line over wall time. Speed 0 stands still; 1 is real."""

    anchored_at: datetime  # wall, UTC
    venue_at: datetime  # venue time at that instant, UTC
    speed: float

    def at(self, wall: datetime) -> datetime:
        return self.venue_at + (wall - self.anchored_at) * self.speed

    def wall_seconds(self, venue: timedelta) -> float:
        """How long a span of venue time takes on the wall. Infinite when the clock stands still."""
        return venue.total_seconds() / self.speed if self.speed else float("inf")
