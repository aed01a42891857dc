"""Who gets the next slot, and why."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.tactics.ranking import (
    CONTINUATION,
    DEEPEST_LOSS,
    EXPECTED_PROFIT,
    OLDEST,
    REPLACEMENTS,
    RULES,
    Candidate,
    ranked,
)

NINE = datetime(2026, 7, 1, 3, 45, tzinfo=UTC)


def waiting(name, *, continues=False, loss=0.0, replacements=0, profit=1.0, minutes=0):
    return Candidate(name, continues, loss, replacements, profit, NINE + timedelta(minutes=minutes))


def order(candidates, rules=RULES):
    return [one.candidate.name for one in ranked(candidates, rules)]


def test_each_rule_decides_where_those_before_it_are_silent():
    assert order([waiting(1, loss=9.0), waiting(2, continues=True)]) == [2, 1]
    assert order([waiting(1, loss=1.0), waiting(2, loss=3.0), waiting(3, loss=None)]) == [2, 1, 3]
    assert order([waiting(1), waiting(2, replacements=2)]) == [2, 1]
    assert order([waiting(1), waiting(2, profit=4.0)]) == [2, 1]
    assert order([waiting(1, minutes=2), waiting(2, minutes=1)]) == [2, 1]


def test_a_rule_may_be_left_out_or_come_earlier():
    two = [waiting(1, loss=9.0), waiting(2, replacements=3)]
    assert order(two, [DEEPEST_LOSS, REPLACEMENTS]) == [1, 2]
    assert order(two, [REPLACEMENTS, DEEPEST_LOSS]) == [2, 1]
    assert order(two, [REPLACEMENTS]) == [2, 1]
    assert order([waiting(2), waiting(1)], []) == [1, 2]  # same age: by name


def test_the_reason_is_the_rule_that_told_it_from_the_next():
    first, second, third = ranked([waiting(1, loss=3.0), waiting(2, minutes=1), waiting(3, minutes=2)], RULES)
    assert first.reason == "the market is 3.00 % beyond its entry"
    assert second.reason == "older"
    assert (third.rank, third.reason) == (3, "comes after all others")


def test_a_rule_that_does_not_exist():
    with pytest.raises(ValueError, match="loudest"):
        ranked([waiting(1)], ["loudest"])


CANDIDATES = st.lists(
    st.builds(
        Candidate, st.integers(1, 10_000), st.booleans(), st.one_of(st.none(), st.floats(-90, 90)), st.integers(0, 3),
        st.floats(-5, 50), st.integers(0, 4).map(lambda minutes: NINE + timedelta(minutes=minutes)),
    ),
    max_size=12, unique_by=lambda one: one.name,
)  # fmt: skip


@given(candidates=CANDIDATES, rules=st.permutations(RULES), some=st.integers(0, 5), shuffle=st.randoms())
def test_a_ranking_is_total_and_the_same_in_whatever_order_they_are_read(candidates, rules, some, shuffle):
    rules = rules[:some]
    found = ranked(candidates, rules)
    again = list(candidates)
    shuffle.shuffle(again)
    assert ranked(again, rules) == found
    assert [one.rank for one in found] == list(range(1, len(candidates) + 1))
    assert {one.candidate.name for one in found} == {one.name for one in candidates}
    better = {
        CONTINUATION: lambda a, b: a.continues - b.continues,
        DEEPEST_LOSS: lambda a, b: _compared(_deep(a), _deep(b)),
        REPLACEMENTS: lambda a, b: _compared(a.replacements, b.replacements),
        EXPECTED_PROFIT: lambda a, b: _compared(a.expected_profit_pct, b.expected_profit_pct),
        OLDEST: lambda a, b: _compared(b.enqueued_at, a.enqueued_at),
    }
    for one, after in pairwise(found):
        told = next((verdict for rule in rules if (verdict := better[rule](one.candidate, after.candidate))), 1)
        assert told > 0  # the first rule that tells them apart speaks for the better one


def _deep(one):
    return -1000.0 if one.loss_pct is None else one.loss_pct


def _compared(a, b):
    return (a > b) - (a < b)
