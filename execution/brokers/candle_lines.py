"""Candles as brokers tell them, one line each: time, four prices, volume. What cannot be is set aside, line by line.

One line that is wrong must not cost the thousands around it. A reply of which much is wrong is no answer.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from execution.brokers.errors import UnexpectedReply
from execution.brokers.fields import without_dust
from execution.brokers.port import Bar, History
from trading.marketdata.quality.impossible import Impossible, RefusedLine, what_is_wrong

FEW: Final = 20  # lines that may be wrong whatever their share
WRONG_SHARE: Final = 0.1  # of a reply's lines, from which on none of it is believed
LONGEST_RAW: Final = 300


def read_lines(lines: Any, *, time_of: Callable[[Any], datetime]) -> History:
    """Bars oldest first, and the lines that cannot be. `time_of` reads the first value: UnexpectedReply where it is
    no instant.

    Two lines of one start with the same numbers are one bar; with other numbers neither is believed. UnexpectedReply:
    this is no list, or too much of it is wrong.
    """
    if not isinstance(lines, list):
        raise UnexpectedReply("candles: a list was expected.")
    bars: dict[datetime, Bar] = {}
    refused: list[RefusedLine] = []
    doubled: dict[datetime, str] = {}
    for line in lines:
        found = _read(line, time_of)
        if isinstance(found, RefusedLine):
            refused.append(found)
        elif bars.setdefault(found.started_at, found) != found:
            doubled[found.started_at] = f"{_raw_of(bars[found.started_at])} and {_raw(line)}"[:LONGEST_RAW]
    for at, told in doubled.items():
        del bars[at]
        refused.append(RefusedLine(at, Impossible.DOUBLED, told))
    if len(refused) > FEW and len(refused) > WRONG_SHARE * len(lines):
        raise UnexpectedReply(f"candles: {len(refused)} of {len(lines)} cannot be, such as {refused[0].raw}.")
    if refused and not bars and all(one.started_at is None for one in refused):
        raise UnexpectedReply("candles: none of the lines is a candle.")
    return History([bars[at] for at in sorted(bars)], refused)


def as_one(parts: Iterable[History], *, start: datetime, end: datetime) -> History:
    """The answers of one question asked in pieces: bars of [start, end), each start once, and all that was refused."""
    bars: dict[datetime, Bar] = {}
    refused: dict[RefusedLine, None] = {}
    for part in parts:
        bars.update((bar.started_at, bar) for bar in part.bars if start <= bar.started_at < end)
        refused.update((one, None) for one in part.refused if one.started_at is None or start <= one.started_at < end)
    return History([bars[at] for at in sorted(bars)], list(refused))


def _read(line: Any, time_of: Callable[[Any], datetime]) -> Bar | RefusedLine:
    if not isinstance(line, list) or len(line) < 6:
        return RefusedLine(None, Impossible.NO_TIME, _raw(line))
    try:
        at = time_of(line[0])
    except UnexpectedReply:
        return RefusedLine(None, Impossible.NO_TIME, _raw(line))
    if at.second or at.microsecond:
        return RefusedLine(at.replace(second=0, microsecond=0), Impossible.OFF_MINUTE, _raw(line))
    opened, high, low, close, volume = (_number(value) for value in line[1:6])
    if why := what_is_wrong(opened, high, low, close, volume):
        return RefusedLine(at, why, _raw(line))
    assert opened is not None and high is not None and low is not None and close is not None and volume is not None
    prices = (without_dust(opened), without_dust(high), without_dust(low), without_dust(close))
    return Bar(at, *prices, volume=int(volume))


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    found = Decimal(value)
    return found if found.is_finite() else None


def _raw(line: Any) -> str:
    return json.dumps(line, default=str, separators=(", ", ":"))[:LONGEST_RAW]


def _raw_of(bar: Bar) -> str:
    return f"[{bar.open}, {bar.high}, {bar.low}, {bar.close}, {bar.volume}]"
