"""The rule language under random rules and random noise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation, Window, compile_rule
from strategies.rules.explain import explain
from strategies.rules.nodes import text_of
from strategies.rules.parser import parse

FIELDS = st.sampled_from(
    ["open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4", "minutes_since_open", "bars_since_open",
     "prev_day_close", "gap_pct", "session_vwap"]
)  # fmt: skip
PERIODS = st.integers(1, 9).map(str)
WINDOWED = st.sampled_from(["sma", "ema", "wma", "rsi", "roc", "stdev", "highest", "lowest"])


def _bigger_numbers(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(WINDOWED, inner, PERIODS).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(inner, st.integers(0, 6)).map(lambda t: f"({t[0]})[{t[1]}]"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        inner.map(lambda text: f"abs(-{text})"),
    )


NUMBERS = st.recursive(
    st.one_of(FIELDS, PERIODS.map(lambda n: f"atr({n})"), st.just("macd_signal(close, 2, 4, 3)"), st.just("obv()")),
    _bigger_numbers,
    max_leaves=4,
)
COMPARISONS = st.one_of(
    st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map(" ".join),
    st.tuples(NUMBERS, st.sampled_from(["<", ">"]), st.floats(-50, 3000).map(lambda x: f"{x:.3f}")).map(" ".join),
    st.tuples(st.sampled_from(["above", "below"]), NUMBERS, NUMBERS).map(lambda t: f"crosses_{t[0]}({t[1]}, {t[2]})"),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda text: f"not ({text})"),
        inner.map(lambda text: f"({text})[1]"),
    ),
    max_leaves=3,
)


@st.composite
def windows(draw) -> Window:
    bars, per_day, offset = draw(st.integers(1, 40)), draw(st.integers(2, 12)), draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = 100 + rng.normal(size=(2, bars)).cumsum(axis=1).round(1)
    close[rng.random(close.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    place = np.arange(bars) + offset
    return Window(
        symbols=("A", "B"),
        starts=place * 300,
        open=close + rng.normal(size=close.shape).round(1),
        high=close + 2,
        low=close - 2,
        close=close,
        volume=np.where(np.isnan(close), np.nan, rng.integers(0, 50, close.shape)),
        session_index=place // per_day,
        minutes_since_open=(place % per_day) * 5.0,
    )


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(CONDITIONS, NUMBERS), bars=windows(), data=st.data())
def test_no_rule_can_see_the_future(text, bars, data):
    cut = data.draw(st.integers(1, bars.shape[1]))
    rule = compile_rule(text)
    np.testing.assert_array_equal(rule.evaluate(bars)[:, :cut], rule.evaluate(bars.until(cut)))


@settings(max_examples=80, deadline=None)
@given(text=CONDITIONS, bars=windows())
def test_a_condition_and_its_opposite_never_fire_together(text, bars):
    evaluation = Evaluation(bars)
    assert not (compile_rule(text).evaluate(evaluation) & compile_rule(f"not ({text})").evaluate(evaluation)).any()


@settings(max_examples=80, deadline=None)
@given(text=CONDITIONS, bars=windows())
def test_sharing_terms_changes_nothing_and_every_firing_explains_itself(text, bars):
    rule = compile_rule(text)
    evaluation = Evaluation(bars)
    compile_rule(f"({text}) or close > 0").evaluate(evaluation)
    fired = rule.evaluate(evaluation)
    np.testing.assert_array_equal(fired, rule.evaluate(bars))
    for symbol, bar in np.argwhere(fired)[:3]:
        terms = rule.terms_at(evaluation, int(symbol), int(bar))
        assert all(np.isfinite(list(terms.values())))
        assert explain(rule, terms).endswith(".")


@given(text=st.one_of(CONDITIONS, NUMBERS))
def test_canonical_text_means_the_same(text):
    node = parse(text, {})
    assert text_of(parse(text_of(node), {})) == text_of(node)


def only_refuses(text: str) -> None:
    try:
        rule = compile_rule(text, {"fast": 3.0})
    except RuleError as refusal:
        assert 0 <= refusal.position <= len(text)
        assert refusal.code.isupper() and str(refusal) and refusal.pointing_at(text)
    else:
        assert rule.warm_up >= 0


@given(text=st.text(max_size=200))
def test_any_text_is_a_rule_or_a_refusal(text):
    only_refuses(text)


WORDS = ["close", "fast", "ema", "rsi", "atr", "and", "or", "not", "(", ")", "[", "]", ",", "+", "-", "*", "/", "<",
         ">=", "==", "1", "0", "14", "1e308", "0.5", "crosses_above", "min", "session_vwap", " ", ".", "'", "lambda",
         "__class__", "gap_pct", "macd", "obv"]  # fmt: skip


@settings(max_examples=400)
@given(words=st.lists(st.sampled_from(WORDS), max_size=60))
def test_any_heap_of_words_is_a_rule_or_a_refusal(words):
    only_refuses(" ".join(words))


@settings(max_examples=60)
@given(opening=st.sampled_from(["(", "-", "not ", "abs(", "close[", "ema(", "1+", "close<", "close and "]),
       times=st.integers(1, 2_500))  # fmt: skip
def test_no_nesting_is_deep_enough_to_crash(opening, times):
    only_refuses(opening * times)
    only_refuses(opening * times + "close")
