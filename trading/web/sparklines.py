"""Small curves beside a price: the closes of the last session of each instrument, as points of an SVG polyline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import load_window
from trading.venue.sessions import exchange_date

MINUTES = 5
BARS = 80  # a session of five-minute bars, whatever its hours
WIDTH, HEIGHT = 96, 24


@dataclass(frozen=True, slots=True)
class Sparkline:
    """`points`: of a polyline in a box of 96 × 24. `sign`: 1 risen, -1 fallen, 0 neither, since its first bar."""

    points: str
    sign: int


def sparklines(feed: Feed, instruments: Sequence[Instrument], *, now: datetime) -> dict[int, Sparkline]:
    """Curves by instrument id; nothing for an instrument without two bars in its newest session."""
    if not instruments:
        return {}
    window = load_window(feed, instruments, MINUTES, bars=BARS, until=now)
    if not window.starts.size:
        return {}
    days = np.array([exchange_date(datetime.fromtimestamp(at, UTC)).toordinal() for at in window.starts.tolist()])
    closes = window.close[:, days == days[-1]]
    drawn = {}
    for instrument, row in zip(instruments, closes, strict=True):
        known = row[np.isfinite(row)]
        if known.size < 2:
            continue
        low, high = float(known.min()), float(known.max())
        across = np.linspace(1, WIDTH - 1, known.size)
        up = HEIGHT - 2 - (known - low) / (high - low or 1.0) * (HEIGHT - 4)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
        drawn[instrument.pk] = Sparkline(points, int(np.sign(known[-1] - known[0])))
    return drawn
