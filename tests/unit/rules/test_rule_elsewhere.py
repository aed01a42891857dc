"""Terms that look at the session, at other bars, at other instruments and at the whole universe."""

import numpy as np
import pytest

from strategies.rules.compiled import RuleSet, compile_rule
from strategies.rules.errors import RuleError, SeriesMissing
from strategies.rules.evaluate import Evaluation
from strategies.rules.explain import explain
from strategies.rules.functions import CATALOGUE, RESERVED
from strategies.rules.nodes import text_of
from strategies.rules.parser import parse
from strategies.rules.window import Window, window_of

NAN = float("nan")
OPEN_S = 1_704_080_700  # Monday 2024-01-01, 09:15 in India
INDEX = "NSE:NIFTY50-INDEX"


def bars(*closes, timeframe=5, starts=None, per_day=75, symbols=None, high=1.0, low=1.0, **others) -> Window:
    close = np.array(closes, dtype=np.float64)
    place = np.arange(close.shape[1])
    at = OPEN_S + place // per_day * 86_400 + place % per_day * 60 * timeframe if starts is None else starts
    return window_of(
        symbols=symbols or tuple(f"NSE:S{number}-EQ" for number in range(len(closes))), starts=np.array(at),
        open_=close - 0.5, high=close + high, low=close - low, close=close, volume=np.full(close.shape, 10.0),
        timeframe=timeframe, **others,
    )  # fmt: skip


def values(text: str, window: Window, row: int = 0) -> list[float]:
    return compile_rule(text, timeframe=window.timeframe).evaluate(window)[row].tolist()


def shows(text: str, window: Window, *expected: float) -> None:
    np.testing.assert_array_equal(values(text, window), expected)


def test_terms_of_the_session_so_far_and_of_the_one_before():
    window = bars([10, 14, 12, 20, 18], per_day=3)
    shows("session_open", window, 9.5, 9.5, 9.5, 19.5, 19.5)
    shows("session_high", window, 11, 15, 15, 21, 21)
    shows("session_low", window, 9, 9, 9, 19, 17)
    shows("session_volume", window, 10, 20, 30, 10, 20)
    shows("session_twap", window, 10, 12, 12, 20, 19)
    shows("prev_day_open", window, NAN, NAN, NAN, 9.5, 9.5)
    shows("prev_day_high", window, NAN, NAN, NAN, 15, 15)
    shows("prev_day_low", window, NAN, NAN, NAN, 9, 9)
    shows("prev_day_close", window, NAN, NAN, NAN, 12, 12)
    shows("day_of_week", window, 1, 1, 1, 2, 2)
    shows("minutes_to_close", window, 370, 365, 360, 370, 365)


def test_a_session_that_began_before_the_window_tells_only_its_close():
    late = bars([14, 12, 20], starts=[OPEN_S + 300, OPEN_S + 600, OPEN_S + 86_400])
    shows("prev_day_high", late, NAN, NAN, NAN)
    shows("prev_day_close", late, NAN, NAN, 12)
    shows("session_high", late, NAN, NAN, 21)
    shows("opening_range_high(10)", late, NAN, NAN, NAN)


def test_the_opening_range_is_known_when_its_minutes_are_over():
    window = bars([10, 14, 12, 30, 8], per_day=5)
    shows("opening_range_high(15)", window, NAN, NAN, 15, 15, 15)
    shows("opening_range_low(10)", window, NAN, 9, 9, 9, 9)
    shows("opening_range_high(5)", window, 11, 11, 11, 11, 11)


def test_another_timeframe_shows_completed_bars_only():
    window = bars([1, 2, 3, 4, 5, 6, 7])
    shows('on("15m", close)', window, NAN, NAN, 3, 3, 3, 6, 6)
    shows('on("15m", high)', window, NAN, NAN, 4, 4, 4, 7, 7)
    shows('on("15m", close[1])', window, NAN, NAN, NAN, NAN, NAN, 3, 3)
    shows('on("5m", close)', window, 1, 2, 3, 4, 5, 6, 7)
    shows('on("15m", close > 4)', window, 0, 0, 0, 0, 0, 1, 1)


def test_a_daily_bar_is_known_from_the_next_day_on():
    window = bars([1, 2, 3, 4, 5, 6], per_day=2)
    shows('on("1d", close)', window, NAN, NAN, 2, 2, 4, 4)
    shows('on("1d", high)', window, NAN, NAN, 3, 3, 5, 5)


def test_the_last_bar_of_a_day_may_be_short():
    window = bars(list(range(1, 76)), per_day=75)  # 375 minutes: six whole hours and a quarter
    hourly = values('on("1h", close)', window)
    assert hourly[71] == 72 and hourly[73] == 72 and hourly[74] == 75


def test_given_bars_of_another_timeframe_are_used_instead_of_made_ones():
    given = bars([100, 200], timeframe=15)
    shows('on("15m", close)', bars([1, 2, 3, 4, 5, 6], others={(15, ""): given}), NAN, NAN, 100, 100, 100, 200)


def test_a_reference_instrument_is_seen_at_the_same_bar():
    index = bars([50, 60, 70], symbols=(INDEX,), starts=[OPEN_S, OPEN_S + 300, OPEN_S + 900])
    window = bars([1, 2, 3, 4], [5, 6, 7, 8], others={(5, INDEX): index})
    shows(f'of("{INDEX}", close)', window, 50, 60, NAN, 70)
    assert values(f'of("{INDEX}", close)', window, row=1) == values(f'of("{INDEX}", close)', window)[:2] + [
        pytest.approx(NAN, nan_ok=True), 70,
    ]  # fmt: skip
    shows(f'of("{INDEX}", close[1])', window, NAN, 50, NAN, 60)
    shows(f'of("{INDEX}", close > 55)', window, 0, 1, 0, 1)


def test_an_instrument_of_the_universe_may_be_a_reference():
    shows('close - of("NSE:S1-EQ", close)', bars([1, 2, 3], [5, 5, 5]), -4, -3, -2)


def test_a_reference_that_was_not_loaded_is_named():
    with pytest.raises(SeriesMissing, match="NSE:NIFTY50-INDEX"):
        compile_rule(f'of("{INDEX}", close) > 1').evaluate(bars([1, 2]))


def test_the_rank_is_the_place_among_the_known():
    window = bars([1, 5], [2, 5], [3, NAN], [4, 1])
    ranks = compile_rule("rank(close)").evaluate(window)
    np.testing.assert_allclose(ranks[:, 0], [0, 100 / 3, 200 / 3, 100])
    np.testing.assert_array_equal(ranks[:, 1], [75, 75, NAN, 0])
    assert np.isnan(compile_rule("rank(close)").evaluate(bars([1, 2]))).all()


def test_counting_bars():
    window = bars([1, 5, 2, 2, 2, 6])
    shows("bars_since(close > 4, 2)", window, NAN, 0, 1, 2, NAN, 0)
    shows("count(close > 4, 3)", window, NAN, NAN, 1, 1, 0, 1)
    shows("when(close > 4, 1, close)", window, 1, 1, 2, 2, 2, 1)
    shows("when(close[1] > 4, 1, 0)", window, NAN, 0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "candles", "expected"),
    [
        ("hammer", [(10, 10.1, 8, 10.05)], [True]),
        ("hammer", [(10, 11, 8, 10.05)], [False]),
        ("shooting_star", [(10, 12, 9.95, 9.98)], [True]),
        ("doji", [(10, 11, 9, 10.1)], [True]),
        ("doji", [(10, 10, 10, 10)], [False]),
        ("bullish_engulfing", [(10, 10, 9, 9.2), (9.1, 10.3, 9, 10.2)], [False, True]),
        ("bullish_engulfing", [(10, 10, 9, 9.2), (9.3, 10.3, 9, 10.2)], [False, False]),
        ("bearish_engulfing", [(9, 10, 9, 9.8), (9.9, 10, 8.5, 8.8)], [False, True]),
        ("inside_bar", [(9, 10, 8, 9), (9, 9.5, 8.5, 9), (9, 9.5, 8.4, 9)], [False, True, False]),
    ],
)
def test_candle_patterns(name, candles, expected):
    open_, high, low, close = (np.array([row]) for row in zip(*candles, strict=True))
    window = window_of(
        symbols=("A",), starts=OPEN_S + 300 * np.arange(close.size), open_=open_, high=high, low=low, close=close,
        volume=close, timeframe=5,
    )  # fmt: skip
    assert compile_rule(name).evaluate(window)[0].tolist() == expected


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ('on("7m", close) > 1', "UNKNOWN_TIMEFRAME", 3),
        ('on("3m", close) > 1', "FINER_TIMEFRAME", 3),
        ('on("15m", on("10m", close)) > 1', "FINER_TIMEFRAME", 13),
        ("on(close, 15) > 1", "NEEDS_TEXT", 3),
        ('on("15m" close) > 1', "SYNTAX", 9),
        ('on("15m", 5) > 1', "CONSTANT_SERIES", 10),
        ('of("nifty", close) > 1', "UNKNOWN_INSTRUMENT", 3),
        (f'of("{INDEX}", rank(close)) > 1', "NOTHING_TO_RANK", 24),
        ("rank(5) > 1", "CONSTANT_SERIES", 5),
        ("count(close, 5) > 1", "NOT_A_CONDITION", 6),
        ("count(close > 1, 0) > 1", "OUT_OF_RANGE", 17),
        ("bars_since(close > 1, close) > 1", "NOT_CONSTANT", 22),
        ("opening_range_high(400) > 1", "OUT_OF_RANGE", 19),
        ("when(close, 1, 2) > 1", "NOT_A_CONDITION", 5),
        ("hammer > 1", "NOT_A_NUMBER", 0),
        ("sqrt(-1) > close", "NO_VALUE", 0),
        ('close > "abc', "OPEN_TEXT", 8),
        ('close > "abc"', "SYNTAX", 8),
        ("close" + "[5000]" * 5 + " > 1", "TOO_FAR_BACK", 0),
        (" + ".join(["cci(5000)"] * 16) + " > 1", "TOO_COSTLY", 168),
    ],
)
def test_what_leads_elsewhere_is_checked_at_its_character(text, code, position):
    with pytest.raises(RuleError) as refusal:
        compile_rule(text, expect="condition", timeframe=5)
    assert (refusal.value.code, refusal.value.position) == (code, position)


def test_a_rule_declares_the_other_bars_it_needs():
    rules = RuleSet.of(
        compile_rule('close > on("15m", ema(close, 20))', timeframe=5),
        compile_rule(f'of("{INDEX}", sma(close, 10)) > 1 and on("15m", sma(close, 200)) > 1', timeframe=5),
        compile_rule(f'on("1d", of("{INDEX}", prev_day_high)) > 1 and close > prev_day_close', timeframe=5),
        None,
    )
    needed = {(need.timeframe, need.symbol): need.bars for need in rules.needs}
    assert needed == {(0, INDEX): 10, (15, ""): 200, (1440, ""): 1, (1440, INDEX): 3}
    assert rules.symbols == (INDEX,)
    assert rules.history(5) == 2 * 77 and rules.settling == 0


def test_equal_terms_are_reckoned_once_across_rules_and_parameters():
    text = "crosses_above(ema(close, fast), ema(close, slow)) and rsi(close, 14) < 70"
    pairs = [(fast, slow) for fast in (3, 5, 8) for slow in (13, 21)]
    rules = [compile_rule(text, {"fast": fast, "slow": slow}) for fast, slow in pairs]
    evaluation = Evaluation(bars(np.linspace(1, 9, 60).tolist()))
    fired = [rule.evaluate(evaluation) for rule in rules]
    assert len(fired) == 6
    # close, five averages, RSI and its comparison; of each pair the cross and the whole
    assert evaluation.reckoned == 1 + 5 + 2 + 6 + 6
    assert RuleSet.of(*rules).terms == evaluation.reckoned + 1  # and the number 70, which costs nothing
    for rule, one in zip(rules, fired, strict=True):
        np.testing.assert_array_equal(one, rule.evaluate(evaluation.window))


def test_a_rule_that_looks_elsewhere_explains_itself():
    index = bars([50, 60, 70], symbols=(INDEX,))
    window = bars([1, 2, 3], [3, 2, 1], others={(5, INDEX): index})
    rule = compile_rule(f'of("{INDEX}", close) > 55 and rank(close) >= 50 and on("15m", close) > 2 and not doji')
    evaluation = Evaluation(window)
    assert rule.evaluate(evaluation)[0].tolist() == [False, False, True]
    assert explain(rule, rule.terms_at(evaluation, 0, 2)) == (
        "Close of NIFTY50-INDEX is 70.00, above 55; rank of close is 100.0, not below 50; close on 15m is 3.00, "
        "above 2; there is not a doji."
    )


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_name_of_the_language_has_an_example_that_runs(entry):
    index = bars([50.0] * 30, symbols=(INDEX,))
    window = bars(np.linspace(1, 9, 30).tolist(), np.linspace(9, 1, 30).tolist(), others={(5, INDEX): index})
    rule = compile_rule(entry.example, expect="condition", timeframe=5)
    assert rule.evaluate(window).shape == (2, 30)
    assert text_of(parse(text_of(rule.node), {})) == text_of(rule.node)
    assert entry.doc and entry.name in entry.example


def test_the_catalogue_knows_every_name():
    assert set(CATALOGUE) == RESERVED - {"true", "false"}
