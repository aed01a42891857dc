"""Events on their way to a page: in order, merged only where nothing is lost, and gaps are seen."""

from hypothesis import given
from hypothesis import strategies as st

from trading.web.stream import HELD_AT_MOST, Outbox, Reorder


def event(seq, kind="order", **data):
    return {"type": "desk.event", "seq": seq, "kind": kind, "at": 1000.0 + seq, "data": data}


def seqs(events):
    return [e["seq"] for e in events]


def test_events_in_order_go_at_once():
    order = Reorder(10)
    assert seqs(order.take(event(11))) == [11]
    assert seqs(order.take(event(12))) == [12]


def test_a_late_event_is_waited_for():
    order = Reorder(10)
    assert seqs(order.take(event(12))) == []
    assert seqs(order.take(event(11))) == [11, 12]


def test_fault_58_what_never_comes_shows_as_a_gap():
    order = Reorder(10)
    assert seqs(order.take(event(13))) == []
    assert seqs(order.give_up()) == [13]
    assert order.seq == 13


def test_an_event_that_a_page_has_already_is_dropped():
    order = Reorder(10)
    assert seqs(order.take(event(10))) == []
    assert seqs(order.take(event(7))) == []


def test_a_counter_that_began_anew_is_followed():
    order = Reorder(100_000)
    assert seqs(order.take(event(1))) == [1]
    assert seqs(order.take(event(2))) == [2]


def test_nothing_is_held_for_ever():
    order = Reorder(0)
    passed = [e for n in range(2, HELD_AT_MOST + 3) for e in order.take(event(n))]
    assert len(passed) == HELD_AT_MOST + 1
    assert not order.held


def test_cells_behind_cells_become_one_message_with_the_newest_text():
    box = Outbox()
    box.put(event(1, "prices", quotes={"A": {"ltp": "1"}, "B": {"ltp": "5"}}))
    box.put(event(2, "positions", rows={"g": {"pnl": "+1"}}))
    box.put(event(3, "prices", quotes={"A": {"ltp": "2"}}))
    (message,) = box.take_all()
    assert (message["first"], message["seq"], message["kind"]) == (1, 3, "cells")
    assert message["data"]["quotes"] == {"A": {"ltp": "2"}, "B": {"ltp": "5"}}
    assert message["data"]["rows"] == {"g": {"pnl": "+1"}}
    assert not box.waiting


def test_order_events_are_never_merged_and_keep_their_place():
    box = Outbox()
    for n, kind in enumerate(["prices", "order", "order", "prices", "prices", "kill"], 1):
        box.put(event(n, kind, quotes={}) if kind == "prices" else event(n, kind, order=n))
    assert box.is_urgent
    assert [(m["kind"], m["first"], m["seq"]) for m in box.take_all()] == [
        ("cells", 1, 1),
        ("order", 2, 2),
        ("order", 3, 3),
        ("cells", 4, 5),
        ("kill", 6, 6),
    ]


def test_a_gap_is_not_hidden_in_a_merge():
    box = Outbox()
    box.put(event(1, "prices", quotes={}))
    box.put(event(3, "prices", quotes={}))
    assert [(m["first"], m["seq"]) for m in box.take_all()] == [(1, 1), (3, 3)]


def test_the_summary_of_two_portfolios_is_kept_apart():
    box = Outbox()
    box.put(event(1, "summary", portfolio=1, equity="a"))
    box.put(event(2, "summary", portfolio=2, equity="b"))
    box.put(event(3, "summary", portfolio=1, equity="c"))
    (message,) = box.take_all()
    assert {k: v["equity"] for k, v in message["data"]["summary"].items()} == {"1": "c", "2": "b"}


@given(st.permutations(range(1, 30)), st.sets(st.integers(1, 29), max_size=5))
def test_whatever_order_they_come_in_none_is_lost_and_none_comes_twice(numbers, lost):
    order, passed = Reorder(0), []
    for number in numbers:
        if number not in lost:
            passed += seqs(order.take(event(number)))
    passed += seqs(order.give_up())
    assert passed == sorted(set(numbers) - lost)


@given(st.lists(st.sampled_from(["prices", "order", "positions", "signal"]), max_size=40))
def test_messages_cover_every_number_exactly_once(kinds):
    box = Outbox()
    for n, kind in enumerate(kinds, 1):
        box.put(event(n, kind, **({"order": n} if kind in ("order", "signal") else {})))
    messages = box.take_all()
    covered = [n for m in messages for n in range(m["first"], m["seq"] + 1)]
    assert covered == list(range(1, len(kinds) + 1))
    told = [m["seq"] for m in messages if m["kind"] in ("order", "signal")]
    assert told == [n for n, kind in enumerate(kinds, 1) if kind in ("order", "signal")]
