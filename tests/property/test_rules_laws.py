"""The rule language under random rules and random noise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.rules.compiled import compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation
from strategies.rules.explain import explain
from strategies.rules.nodes import text_of
from strategies.rules.parser import parse
from strategies.rules.window import Window, window_of

FIELDS = st.sampled_from(
    ["open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4", "minutes_since_open", "bars_since_open",
     "prev_day_close", "gap_pct", "session_vwap", "minutes_to_close", "day_of_week", "session_open", "session_high",
     "session_low", "session_twap", "session_volume", "prev_day_open", "prev_day_high", "prev_day_low"]
)  # fmt: skip
PERIODS = st.integers(1, 9).map(str)
WINDOWED = st.sampled_from(["sma", "ema", "wma", "rsi", "roc", "stdev", "highest", "lowest"])


ELSEWHERE = st.sampled_from(['on("10m", {})', 'on("15m", {})', 'on("1d", {})', 'of("NSE:NIFTY50-INDEX", {})',
                             'on("15m", of("NSE:NIFTY50-INDEX", {}))', 'of("NSE:A-EQ", {})'])  # fmt: skip
PATTERNS = st.sampled_from(["hammer", "shooting_star", "bullish_engulfing", "bearish_engulfing", "doji", "inside_bar"])


def reads(text: str) -> bool:
    """Whether it is a rule at all: a random heap may rank within one instrument, or make short bars of long ones."""
    try:
        parse(text, {}, timeframe=5)
    except RuleError as refusal:
        assert refusal.code in ("FINER_TIMEFRAME", "NOTHING_TO_RANK", "CONSTANT_SERIES", "NO_VALUE", "DIVISION_BY_ZERO")
        return False
    return True


def _bigger_numbers(inner):
    condition = st.one_of(st.tuples(inner, inner).map(lambda t: f"{t[0]} > {t[1]}"), PATTERNS)
    return st.one_of(
        st.tuples(ELSEWHERE, inner).map(lambda t: t[0].format(t[1])),
        inner.map(lambda text: f"rank({text})"),
        st.tuples(st.sampled_from(["bars_since", "count"]), condition, PERIODS).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        st.tuples(condition, inner, inner).map(lambda t: f"when({t[0]}, {t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["sqrt", "log", "sign"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(WINDOWED, inner, PERIODS).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(inner, st.integers(0, 6)).map(lambda t: f"({t[0]})[{t[1]}]"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        inner.map(lambda text: f"abs(-{text})"),
    )


NUMBERS = st.recursive(
    st.one_of(
        FIELDS,
        PERIODS.map(lambda n: f"atr({n})"),
        st.just("macd_signal(close, 2, 4, 3)"),
        st.just("obv()"),
        PERIODS.map(lambda n: f"opening_range_high({n})"),
        PERIODS.map(lambda n: f"opening_range_low({n}0)"),
    ),
    _bigger_numbers,
    max_leaves=4,
).filter(reads)
COMPARISONS = st.one_of(
    PATTERNS,
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
        st.tuples(ELSEWHERE, inner).map(lambda t: t[0].format(t[1])),
    ),
    max_leaves=3,
).filter(reads)


MONDAY_OPEN_S = 1_704_080_700  # 2024-01-01 09:15 in India


def bars_of(symbols, starts, rng, missing, timeframe=5, **others) -> Window:
    close = 100 + rng.normal(size=(len(symbols), starts.size)).cumsum(axis=1).round(1)
    close[rng.random(close.shape) < missing] = np.nan
    open_ = close + rng.normal(size=close.shape).round(1)
    return window_of(
        symbols=symbols, starts=starts, open_=open_, high=np.maximum(open_, close) + rng.integers(0, 3, close.shape),
        low=np.minimum(open_, close) - rng.integers(0, 3, close.shape), close=close,
        volume=np.where(np.isnan(close), np.nan, rng.integers(0, 50, close.shape)), timeframe=timeframe, **others,
    )  # fmt: skip


@st.composite
def windows(draw) -> Window:
    """Three symbols and an index in five minutes over several short days; longer bars as given or as made."""
    bars, per_day, offset = draw(st.integers(1, 40)), draw(st.integers(2, 12)), draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    missing = draw(st.sampled_from([0.0, 0.1]))
    place = np.arange(bars + 9) + offset
    starts = MONDAY_OPEN_S + place // per_day * 86_400 + place % per_day * 300
    axis = starts[:bars][rng.random(bars) >= missing / 2] if bars > 1 else starts[:bars]
    index = bars_of(("NSE:NIFTY50-INDEX",), starts[rng.random(starts.size) >= missing], rng, 0.0)
    others = {(5, "NSE:NIFTY50-INDEX"): index}
    if draw(st.booleans()):
        quarters = np.unique(MONDAY_OPEN_S + (starts - MONDAY_OPEN_S) // 900 * 900)
        others[15, ""] = bars_of(("NSE:A-EQ", "NSE:B-EQ", "NSE:C-EQ"), quarters, rng, missing, 15)
        others[15, "NSE:NIFTY50-INDEX"] = bars_of(("NSE:NIFTY50-INDEX",), quarters, rng, 0.0, 15)
    return bars_of(("NSE:A-EQ", "NSE:B-EQ", "NSE:C-EQ"), axis, rng, missing, others=others)


@settings(max_examples=120, deadline=None)
@given(text=st.one_of(CONDITIONS, NUMBERS), bars=windows(), data=st.data())
def test_no_rule_can_see_the_future(text, bars, data):
    """What a scanner is told at a bar's close is what a test over all bars is told of that bar."""
    if not bars.shape[1]:
        return
    cut = data.draw(st.integers(1, bars.shape[1]))
    rule = compile_rule(text, timeframe=5)
    np.testing.assert_array_equal(rule.evaluate(bars)[:, :cut], rule.evaluate(bars.until(cut)))


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.one_of(CONDITIONS, NUMBERS), min_size=2, max_size=5), bars=windows())
def test_a_small_memory_gives_the_same_results(texts, bars):
    rules = [compile_rule(text, timeframe=5) for text in texts]
    little, much = Evaluation(bars, budget_bytes=1), Evaluation(bars)
    for rule in rules * 2:
        np.testing.assert_array_equal(rule.evaluate(little), rule.evaluate(much))


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
         "__class__", "gap_pct", "macd", "obv", "on", "of", "rank", "when", "count", "bars_since", "hammer", '"15m"',
         '"NSE:NIFTY50-INDEX"', '"', "opening_range_high", "sqrt", "log"]  # fmt: skip


@settings(max_examples=400)
@given(words=st.lists(st.sampled_from(WORDS), max_size=60))
def test_any_heap_of_words_is_a_rule_or_a_refusal(words):
    only_refuses(" ".join(words))


@settings(max_examples=60)
@given(opening=st.sampled_from(["(", "-", "not ", "abs(", "close[", "ema(", "1+", "close<", "close and ",
                                'on("1d", ', 'of("NSE:X", ',
                                "rank(", "when(close > 1, 1, ", "count(close > 1, 2) + "]),
       times=st.integers(1, 2_500))  # fmt: skip
def test_no_nesting_is_deep_enough_to_crash(opening, times):
    only_refuses(opening * times)
    only_refuses(opening * times + "close")
