"""Sources of prices: a failing one is left at once, a better one returned to only when it has proved itself."""

from hypothesis import given
from hypothesis import strategies as st

from trading.marketdata.live import ORDER, Limits, SourceSwitch, stale_symbols

STREAM, POLL, SECOND, CANDLE = ORDER
START = 1_000_000.0


def switch(**more) -> SourceSwitch:
    one = SourceSwitch(START, **more)
    one.heard(STREAM, START)
    one.judge(START, expecting=True)
    return one


def test_a_stream_that_is_open_and_silent_for_a_minute_of_trading_has_failed():
    one = switch()
    assert one.judge(START + 59, expecting=True) is None
    change = one.judge(START + 61, expecting=True)
    assert (change.before, change.after, change.is_worse) == (STREAM, POLL, True)
    assert change.why == "brought no price for 61 s"


def test_silence_while_the_market_is_closed_says_nothing_and_counts_from_the_open():
    one = SourceSwitch(START)
    assert one.judge(START + 3600, expecting=False) is None
    assert one.judge(START + 3601, expecting=True) is None
    assert one.judge(START + 3650, expecting=True) is None
    assert one.judge(START + 3670, expecting=True).after is POLL


def test_a_lost_line_is_left_at_once_and_each_source_that_fails_hands_on_to_the_next():
    one = switch()
    one.failed(STREAM, START + 1, "is not connected")
    assert one.judge(START + 1, expecting=True).after is POLL
    one.failed(POLL, START + 2, "RATE")
    assert one.judge(START + 2, expecting=True).after is SECOND
    one.failed(SECOND, START + 3, "NO_SECOND_BROKER")
    assert one.judge(START + 3, expecting=True).after is CANDLE
    assert one.wanted() == list(ORDER)


def test_a_stream_that_comes_back_must_stay_before_it_is_trusted_again():
    one = switch()
    one.failed(STREAM, START + 1, "is not connected")
    one.judge(START + 1, expecting=True)
    for second in range(2, 11):
        one.heard(STREAM, START + second)
        one.heard(POLL, START + second)
        assert one.judge(START + second, expecting=True) is None
    one.failed(STREAM, START + 11, "is not connected")  # it flickers: the count begins anew
    for second in range(12, 22):
        one.heard(STREAM, START + second)
        one.heard(POLL, START + second)
        assert one.judge(START + second, expecting=True) is None
    one.heard(STREAM, START + 22)
    change = one.judge(START + 22, expecting=True)
    assert (change.after, change.is_worse) == (STREAM, False)


def test_one_tick_in_a_long_while_proves_nothing():
    one = switch()
    one.judge(START + 61, expecting=True)
    one.heard(STREAM, START + 70)
    assert one.judge(START + 90, expecting=True) is None
    assert one.active is POLL


def test_a_desk_without_a_second_broker_goes_to_the_candle():
    one = switch(available=[STREAM, POLL])
    one.failed(STREAM, START + 1, "x")
    one.failed(POLL, START + 1, "x")
    assert one.judge(START + 1, expecting=True).after is CANDLE


events = st.lists(
    st.tuples(st.sampled_from(["heard", "failed", "judge"]), st.sampled_from(ORDER[:3]), st.floats(0.1, 40)),
    max_size=60,
)


@given(events)
def test_whatever_happens_prices_come_from_somewhere_and_never_from_a_source_known_to_have_failed(happened):
    one, at, last_switch = SourceSwitch(START, limits=Limits(return_s=10)), START, START - 100
    for what, kind, later in happened:
        at += later
        if what == "heard":
            one.heard(kind, at)
        elif what == "failed":
            one.failed(kind, at, "down")
        else:
            change = one.judge(at, expecting=True)
            if change is not None and not change.is_worse:
                assert at - last_switch >= 0 and one.health[change.after].good_since <= at - 10
            if change is not None:
                last_switch = at
            assert one.health[one.active].failed_at is None
            assert one.active in one.available


def test_symbols_without_a_young_price_are_named():
    assert stale_symbols({"A": 3.0, "B": 90.0}, ["A", "B", "C"], limit_s=60) == {"B": 90.0, "C": None}


def test_a_line_that_is_up_again_while_the_market_is_closed_needs_no_proof():
    one = SourceSwitch(START)
    one.failed(STREAM, START + 1, "is not connected")
    assert one.judge(START + 1, expecting=False).after is POLL
    one.restored(STREAM)
    assert one.judge(START + 2, expecting=False).after is STREAM
