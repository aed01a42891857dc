"""One line of a history that cannot be costs nothing of the lines around it, in either dialect."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from execution.brokers.errors import UnexpectedReply
from execution.brokers.fyers import mapping as fyers
from execution.brokers.http import Reply
from execution.brokers.kite import mapping as kite
from execution.brokers.port import History
from trading.domain.clock import IST

FIRST = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)
GOOD = "[612.0, 612.9, 611.8, 612.4, 48211]"
AT = FIRST + timedelta(minutes=1)


def of_fyers(*lines: tuple[str, str]) -> History:
    """What FYERS says of these: minute (or a text in its place) and numbers, as they stand on the wire."""
    told = [f"[{at}, {numbers[1:]}" for at, numbers in _stamped(lines, lambda at: str(int(at.timestamp())))]
    return fyers.read_candles(Reply(200, {}, f'{{"s": "ok", "candles": [{", ".join(told)}]}}'.encode()))


def of_kite(*lines: tuple[str, str]) -> History:
    told = [
        f"[{at}, {numbers[1:]}"
        for at, numbers in _stamped(lines, lambda at: json.dumps(f"{at.astimezone(IST):%FT%T%z}"))
    ]
    body = f'{{"status": "success", "data": {{"candles": [{", ".join(told)}]}}}}'.encode()
    return kite.reader(lambda said: kite.read_candles(said, daily=False), nan=True)(Reply(200, {}, body))


def _stamped(lines, stamp):
    for at, numbers in lines:
        yield (stamp(FIRST + timedelta(seconds=round(60 * at))) if isinstance(at, int | float) else at), numbers


@pytest.fixture(params=[of_fyers, of_kite], ids=["fyers", "kite"])
def told(request):
    return request.param


@pytest.mark.parametrize(("numbers", "why"), [
    ("[612.0, 600.0, 611.8, 612.4, 1]", "HIGH_BELOW_LOW"),
    ("[613.0, 612.9, 611.8, 612.4, 1]", "NOT_ENCLOSED"),
    ("[612.0, 612.9, 0, 612.4, 1]", "NO_PRICE"),
    ("[-612.0, 612.9, -613, 612.4, 1]", "NO_PRICE"),
    ("[612.0, 612.9, 611.8, 612.4, -5]", "NEGATIVE_VOLUME"),
    ("[612.0, 612.9, 611.8, 612.4, 1.5]", "NO_NUMBER"),
    ("[NaN, 612.9, 611.8, 612.4, 1]", "NO_NUMBER"),
    ("[612.0, Infinity, 611.8, 612.4, 1]", "NO_NUMBER"),
    ("[612.0, 612.9, 611.8, null, 1]", "NO_NUMBER"),
    ('[612.0, 612.9, 611.8, "612.4", true]', "NO_NUMBER"),
    ("[612.0, 1e11, 611.8, 612.4, 1]", "TOO_LARGE"),
    ("[612.0, 612.9, 611.8, 612.4, 1e30]", "TOO_LARGE"),
    ("[612.0, 612.9, 611.8, 612.4, -1e400]", "NEGATIVE_VOLUME"),
    (f"[612.0, 612.9, 611.8, 612.4, {10**60}]", "TOO_LARGE"),
])  # fmt: skip
def test_a_line_that_cannot_be_is_set_aside_with_its_class_and_its_numbers(told, numbers, why):
    found = told((0, GOOD), (1, numbers), (2, GOOD))
    assert [bar.started_at for bar in found.bars] == [FIRST, FIRST + timedelta(minutes=2)]
    assert found.bars[0].close == Decimal("612.4") and found.bars[0].volume == 48211
    (line,) = found.refused
    assert (line.started_at, line.why) == (AT, why)
    assert json.loads(line.raw)[2 if why != "NO_PRICE" else 5] is not None and line.raw.startswith("[")


def test_a_start_told_twice_with_other_numbers_is_believed_in_neither(told):
    found = told((0, GOOD), (1, GOOD), (1, "[1, 2, 1, 2, 5]"), (2, GOOD), (2, GOOD))
    assert [bar.started_at for bar in found.bars] == [FIRST, FIRST + timedelta(minutes=2)]
    (line,) = found.refused
    assert (line.started_at, line.why) == (AT, "DOUBLED")
    assert "48211" in line.raw and "5]" in line.raw


def test_a_start_between_two_minutes_stands_for_its_minute(told):
    (line,) = told((0, GOOD), (1.5, GOOD)).refused
    assert (line.started_at, line.why) == (AT, "OFF_MINUTE")


@pytest.mark.parametrize("at", ["null", '"x"', "true", "-5", "1e99", "NaN", "[]"])
def test_a_line_without_a_time_is_set_aside_without_one(told, at):
    found = told((0, GOOD), (at, GOOD))
    assert len(found.bars) == 1
    assert [(one.started_at, one.why) for one in found.refused] == [(None, "NO_TIME")]


def test_a_reply_of_which_a_tenth_is_wrong_is_no_answer(told):
    lines = [(n, GOOD if n % 8 else "[0, 0, 0, 0, 0]") for n in range(375)]
    with pytest.raises(UnexpectedReply):
        told(*lines)
