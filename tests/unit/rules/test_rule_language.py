"""What rules mean, what they refuse, and how they explain themselves."""

import numpy as np
import pytest

from strategies.rules.compiled import compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation
from strategies.rules.explain import explain, rupee_digits
from strategies.rules.nodes import text_of
from strategies.rules.parser import parse
from strategies.rules.window import Window
from trading.indicators import moving, oscillators

NAN = float("nan")


def window(*closes: list[float], per_day: int = 4, starts_at_minute: int = 0) -> Window:
    """Bars of five minutes, high and low one rupee around the close, open equal to it."""
    close = np.array(closes, dtype=np.float64)
    bars = close.shape[1]
    place = np.arange(bars) + starts_at_minute // 5
    return Window(
        symbols=tuple(f"S{number}" for number in range(len(closes))),
        starts=np.arange(bars, dtype=np.int64) * 300,
        open=close.copy(),
        high=close + 1,
        low=close - 1,
        close=close,
        volume=np.full(close.shape, 10.0),
        session_index=place // per_day,
        minutes_since_open=(place % per_day) * 5.0,
    )


def fires(text: str, *closes: float, **parameters: float) -> list[bool]:
    return compile_rule(text, parameters, expect="condition").evaluate(window(list(closes)))[0].tolist()


def number(text: str, *closes: float, **parameters: float) -> list[float]:
    return compile_rule(text, parameters, expect="number").evaluate(window(list(closes)))[0].tolist()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 + 0*close", 7), ("(1 + 2) * 3 + 0*close", 9), ("-close + 20", 10), ("10 - 4 - 3 + 0*close", 3),
        ("100 / 10 / 5 + 0*close", 2), ("min(close, 12, 11)", 10), ("max(close, 12)", 12), ("abs(close - 15)", 5),
        ("hl2", 10), ("hlc3", 10), ("ohlc4", 10), ("high - low", 2), ("close * factor", 25),
        ("1e1 + .5 + 0*close", 10.5),
    ],
)  # fmt: skip
def test_arithmetic_means_what_it_says(text, value):
    assert number(text, 10.0, factor=2.5) == [value]


def test_logic_binds_not_before_and_before_or():
    assert fires("close > 1 or close > 9 and close > 99", 2.0) == [True]
    assert fires("not close > 5 and close > 1", 2.0, 6.0) == [True, False]
    assert fires("1 < close <= 3", 1.0, 2.0, 3.0, 4.0) == [False, True, True, False]


def test_a_lag_looks_back_and_a_lagged_condition_remembers():
    assert number("close[2]", 1.0, 2.0, 3.0)[2] == 1
    assert fires("close > close[1]", 1.0, 2.0, 2.0) == [False, True, False]
    assert fires("(close > 1)[1]", 1.0, 2.0, 0.0) == [False, False, True]


def test_a_cross_fires_on_its_bar_alone():
    assert fires("crosses_above(close, 5)", 4.0, 5.0, 6.0, 7.0) == [False, False, True, False]
    assert fires("crosses_below(close, level)", 6.0, 4.0, 3.0, level=5) == [False, True, False]


def test_what_is_not_known_never_fires_not_even_negated():
    assert fires("not rsi(close, 3) > 70", *[5.0] * 5) == [False, False, False, True, True]
    assert fires("close != 3", 1.0, NAN) == [True, False]
    assert fires("not (close == 3)", 1.0, NAN) == [True, False]
    assert fires("not crosses_above(close, 5)", 4.0, NAN, 4.0) == [False, False, True]
    assert fires("close > 0 or close[1] > 0", 1.0, NAN) == [True, True]


def test_dividing_by_nothing_is_unknown():
    assert fires("1 / (close - 2) > 0 or 1 / (close - 2) < 0", 2.0, 3.0) == [False, True]


def test_indicators_are_those_of_the_registry():
    closes = (100 + np.random.default_rng(2).normal(size=(2, 60)).cumsum(axis=1)).tolist()
    bars = window(*closes)
    np.testing.assert_array_equal(compile_rule("ema(close, 9)").evaluate(bars), moving.ema(bars.close, 9))
    np.testing.assert_array_equal(compile_rule("rsi(close)").evaluate(bars), oscillators.rsi(bars.close, 14))
    nested = compile_rule("ema(rsi(close, 14), 5)[2]")
    assert np.isnan(nested.evaluate(bars)[0, : nested.warm_up]).all()
    assert np.isfinite(nested.evaluate(bars)[0, nested.warm_up :]).all()
    assert nested.settling > nested.warm_up == 14 + 4 + 2


def test_session_terms_start_anew_each_day():
    closes = [10.0, 11, 12, 13, 20, 21, 22, 23]
    assert number("minutes_since_open", *closes) == [0, 5, 10, 15] * 2
    assert number("bars_since_open", *closes) == [0, 1, 2, 3] * 2
    np.testing.assert_array_equal(number("prev_day_close", *closes), [NAN] * 4 + [13] * 4)
    np.testing.assert_allclose(number("gap_pct", *closes)[4:], [100 * (20 / 13 - 1)] * 4)
    np.testing.assert_allclose(number("session_vwap", *closes), [10, 10.5, 11, 11.5, 20, 20.5, 21, 21.5])


def test_a_day_that_began_before_the_window_is_not_guessed():
    bars = window([10.0, 11, 12, 13, 14], starts_at_minute=10)
    for term in ("bars_since_open", "session_vwap"):
        known = np.isfinite(compile_rule(term).evaluate(bars)[0])
        assert known.tolist() == [False, False, True, True, True], term


def test_the_previous_close_is_the_last_one_known():
    assert number("prev_day_close", 10.0, 11, 12, NAN, 20)[4] == 12


def test_rules_share_their_terms():
    evaluation = Evaluation(window([1.0, 2, 3, 4, 5]))
    compile_rule("ema(close, n) > 1", {"n": 3}).evaluate(evaluation)
    shared = evaluation.numbers(parse("ema(close, 3)", {}))
    assert evaluation.numbers(parse("ema( close , 1 + 2 )", {})) is shared


def test_a_result_may_be_written_to_without_harm():
    evaluation = Evaluation(window([1.0, 2.0]))
    rule = compile_rule("close")
    rule.evaluate(evaluation)[:] = 0
    assert rule.evaluate(evaluation)[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "code", "position", "suggestion"),
    [
        ("clsoe > 1", "UNKNOWN_NAME", 0, "close"),
        ("close > emaa(close, 9)", "UNKNOWN_FUNCTION", 8, "ema"),
        ("close > 1 AND close < 3", "SYNTAX", 10, "and"),
        ("close = 1", "UNKNOWN_CHARACTER", 6, "=="),
        ("close.real > 1", "NO_ATTRIBUTES", 5, None),
        ("__import__('os')", "UNKNOWN_CHARACTER", 11, '"'),
        ("close[-1] > 1", "LOOK_AHEAD", 6, None),
        ("close[1.5] > 1", "NOT_CONSTANT", 6, None),
        ("close[5001] > 1", "OUT_OF_RANGE", 6, None),
        ("close[close] > 1", "NOT_CONSTANT", 6, None),
        ("ema(close, 0) > 1", "OUT_OF_RANGE", 11, None),
        ("ema(close, 5001) > 1", "OUT_OF_RANGE", 11, None),
        ("ema(close, close) > 1", "NOT_CONSTANT", 11, None),
        ("ema(close) > 1", "WRONG_ARGUMENTS", 0, None),
        ("rsi(14) > 1", "CONSTANT_SERIES", 4, None),
        ("ema > 1", "NEEDS_ARGUMENTS", 0, None),
        ("close > 1 and 2", "NOT_A_CONDITION", 14, None),
        ("(close > 1) + 2 > 1", "NOT_A_NUMBER", 0, None),
        ("ema(close > 1, 3) > 1", "NOT_A_NUMBER", 4, None),
        ("close / (2 - 2) > 1", "DIVISION_BY_ZERO", 8, None),
        ("close > 1e999", "NUMBER_TOO_LARGE", 8, None),
        ("close > 1e300 * 1e300", "NUMBER_TOO_LARGE", 14, None),
        ("crosses_above(1, 2)", "CONSTANT_SERIES", 0, None),
        ("5[1] > close", "CONSTANT_SERIES", 1, None),
        ("close >", "SYNTAX", 7, None),
        ("(close > 1", "SYNTAX", 10, None),
        ("close > 1)", "SYNTAX", 9, None),
        ("", "EMPTY", 0, None),
        ("close", "WRONG_KIND", 0, None),
        ("close > 1 and " * 200 + "close > 1", "TOO_LONG", 2000, None),
        ("(" * 41 + "close" + ")" * 41 + " > 1", "TOO_DEEP", 40, None),
        ("-" * 1000 + "close > 1", "TOO_DEEP", 40, None),
        (" or ".join(["close>1"] * 150), "TOO_MANY_TERMS", 1000, None),
    ],
)
def test_a_bad_rule_is_refused_at_its_character(text, code, position, suggestion):
    with pytest.raises(RuleError) as refusal:
        compile_rule(text, expect="condition")
    assert (refusal.value.code, refusal.value.suggestion) == (code, suggestion)
    assert refusal.value.position == position or code == "TOO_MANY_TERMS"


def test_an_error_points_with_a_caret():
    text = "close > 1 and\nclsoe < 2"
    with pytest.raises(RuleError) as refusal:
        compile_rule(text)
    assert refusal.value.pointing_at(text).startswith("clsoe < 2\n^ clsoe is not known")


def test_parameters_are_constants_and_cannot_take_a_known_name():
    assert fires("close > limit", 1.0, 3.0, limit=2) == [False, True]
    for name in ("close", "ema", "and", "not a name", "__class__ "):
        with pytest.raises(RuleError, match="cannot be the name"):
            compile_rule("close > 1", {name: 1})
    with pytest.raises(RuleError) as refusal:
        compile_rule("close > limit", {"limit": NAN})
    assert refusal.value.code == "PARAMETER_VALUE"


def test_a_window_of_unequal_shapes_is_refused():
    with pytest.raises(ValueError, match="volume"):
        bars = window([1.0, 2.0])
        Window(**{**vars(bars), "volume": np.zeros((1, 3))})


def told(text: str, *closes: float, bar: int = -1, **parameters: float) -> str:
    evaluation = Evaluation(window(list(closes)))
    rule = compile_rule(text, parameters)
    return explain(rule, rule.terms_at(evaluation, 0, len(closes) + bar if bar < 0 else bar))


def test_a_fired_rule_says_why():
    text = "crosses_above(ema(close, fast), ema(close, slow)) and rsi(close, 2) < 90 and rsi(close, 2) > 50"
    sentence = told(text, 2400.0, 2390, 2389, 2395, 2394, 2410, fast=1, slow=3, bar=3)
    assert sentence == "EMA 1 (2,395.00) crossed above EMA 3 (2,394.00); RSI 2 is 52.2, below 90 and above 50."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("close > 10 or close > 100", "Close is 12.00, above 10."),
        ("not close > 50", "Close is 12.00, not above 50."),
        ("20 > close", "Close is 12.00, below 20."),
        ("close > close[1]", "Close is 12.00, above close 1 bar ago (11.00)."),
        ("high - low < 3", "High - low is 2.00, below 3."),
        ("not crosses_below(close, 5)", "Close (12.00) has not crossed below 5."),
        ("highest(high, 2) > close", "Highest 2 of high is 13.00, above close (12.00)."),
        ("close * 2", "Close * 2 is 24.00."),
        ("atr(2)", "ATR 2 is 2.00."),
    ],
)
def test_sentences_of_other_shapes(text, sentence):
    assert told(text, 10.0, 11.0, 12.0) == sentence


def test_terms_leave_out_what_was_unknown():
    evaluation = Evaluation(window([1.0, 2.0]))
    rule = compile_rule("rsi(close, 14) > 1 or close > 1")
    assert rule.terms_at(evaluation, 0, 1) == {"close": 2.0}


@pytest.mark.parametrize(
    ("value", "shown"), [(1234567.8, "12,34,567.80"), (999, "999.00"), (-100000, "-1,00,000.00"), (-0.001, "0.00")]
)
def test_numbers_are_grouped_the_indian_way(value, shown):
    assert rupee_digits(value) == shown


@pytest.mark.parametrize(
    "text",
    ["close - (open - high)", "-(close + 1) * 2", "(close > 1) [2]", "not (close > 1 and low < 2)", "close * -2"],
)
def test_the_canonical_text_of_a_rule_parses_to_the_same_rule(text):
    node = parse(text, {})
    assert parse(text_of(node), {}) == node
