"""Range arithmetic against the plain meaning: sets of instants."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trading.marketdata.fetching.ranges import common, joined, merged, without

START = datetime(2026, 2, 16, tzinfo=UTC)
minutes = st.integers(0, 60).map(lambda minute: START + timedelta(minutes=minute))
some_ranges = st.lists(st.tuples(minutes, minutes), max_size=8)


def instants(ranges) -> set[datetime]:
    return {
        start + timedelta(minutes=step)
        for start, end in ranges
        for step in range(max(0, int((end - start).total_seconds() // 60)))
    }


def in_order_and_apart(ranges) -> bool:
    return all(start < end for start, end in ranges) and all(a[1] < b[0] for a, b in pairwise(ranges))


@given(some_ranges)
def test_merging_keeps_every_instant_in_the_fewest_ranges(ranges):
    assert instants(merged(ranges)) == instants(ranges)
    assert in_order_and_apart(merged(ranges))


@given(some_ranges, some_ranges)
def test_what_is_common_and_what_is_left_are_set_arithmetic(left, right):
    assert instants(common(left, right)) == instants(left) & instants(right)
    assert instants(without(left, right)) == instants(left) - instants(right)
    assert in_order_and_apart(without(left, right))


@given(some_ranges, some_ranges)
def test_joining_adds_nothing_that_is_wanted_elsewhere(ranges, wanted):
    result = joined(ranges, wanted)
    assert instants(ranges) <= instants(result)
    assert not (instants(result) - instants(ranges)) & instants(wanted)
