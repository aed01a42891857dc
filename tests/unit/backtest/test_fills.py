"""What happens inside a bar, written out bar by bar: open, high, low, close."""

from decimal import Decimal

import numpy as np
import pytest

from risk.sizing import volatility_target
from strategies.backtest import kernels as k
from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.plan import (
    Account,
    Costs,
    IntradayHours,
    Sizing,
    SizingMode,
    Trailing,
    plan_of_contract,
    rule_of,
    sizing_of,
)
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec, load_library
from tests.unit.backtest.markets import MONDAY, by_hand, plan, together, wandering
from trading.venue.charges import ChargeBroker

QUIET = (100, 100, 100, 100)
FIRES = (100, 101, 100, 101)  # the only bar that closes above its open
UNIT = Sizing(SizingMode.FIXED, Decimal(10))
RISES, FALLS = "close > open", "close < open"


def stop(percent: str) -> StopSpec:
    return StopSpec(StopKind.PERCENT, Decimal(percent))


def target(percent: str) -> TargetSpec:
    return TargetSpec(TargetKind.PERCENT, Decimal(percent))


def only(result) -> dict:
    (trade,) = result.trade_list()
    return trade


def outcome(result) -> tuple:
    trade = only(result)
    return trade["entry_bar"], trade["entry_price"], trade["exit_bar"], trade["exit_price"], trade["reason"]


def test_a_signal_fills_at_the_next_open():
    market = by_hand(QUIET, FIRES, (103, 104, 99, 100), QUIET, (98, 99, 97, 98))
    assert outcome(run(plan(RISES, sizing=UNIT), market)) == (2, 103.0, 4, 98.0, "END")


def test_slippage_is_paid_on_every_market_order_and_rounded_to_the_tick_against_us():
    market = by_hand(QUIET, FIRES, (103, 104, 99, 100), QUIET, (98, 99, 97, 98))
    slipped = run(plan(RISES, sizing=UNIT, costs=Costs(slippage_bps=Decimal(7))), market)
    assert outcome(slipped) == (2, 103.10, 4, 97.90, "END")  # 103.0721 up to the tick, 97.9314 down


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(101, 101, 99.5, 100), (99, 100, 97, 98)], (2, 101.0, 3, 97.95, "STOP")),  # inside the bar
        ([(101, 101, 99.5, 100), (95, 96, 94, 95)], (2, 101.0, 3, 95.0, "STOP")),  # a gap: at the open, not the stop
        ([(101, 101, 97, 98)], (2, 101.0, 2, 97.95, "STOP")),  # on the bar of the entry
        ([(96, 99, 95, 96)], (2, 96.0, 2, 96.0, "STOP")),  # opened beyond the stop: in and out
        ([(101, 104.05, 101, 101)], (2, 101.0, 2, 104.05, "TARGET")),
        ([(101, 102, 100, 101), (106, 107, 105, 106)], (2, 101.0, 3, 106.0, "TARGET")),  # a better open
        ([(101, 105, 97, 101)], (2, 101.0, 2, 97.95, "STOP")),  # both touched: the stop was first
        ([(101, 102, 100, 101), (106, 107, 97, 106)], (2, 101.0, 3, 97.95, "STOP")),
    ],
)
def test_stop_and_target_of_a_long_trade(bars, expected):
    """The signal's close is 101: stop at 97.95 (97.97 down to the tick), target at 104.05 (104.03 up)."""
    market = by_hand(QUIET, FIRES, *bars, (100, 100, 100, 100), (100, 100, 100, 100))
    assert outcome(run(plan(RISES, sizing=UNIT, stop=stop("3"), target=target("3")), market)) == expected


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(99, 102, 99, 100)], (2, 99.0, 2, 102.0, "STOP")),
        ([(99, 100, 99, 99.5), (104, 105, 103, 104)], (2, 99.0, 3, 104.0, "STOP")),
        ([(99, 99, 95.9, 99)], (2, 99.0, 2, 96.0, "TARGET")),
        ([(99, 99, 98, 99), (95, 96, 94, 95)], (2, 99.0, 3, 95.0, "TARGET")),
        ([(99, 103, 94, 99)], (2, 99.0, 2, 102.0, "STOP")),
    ],
)
def test_stop_and_target_of_a_short_trade(bars, expected):
    """The signal's close is 99: stop at 102.00 (101.97 up), target at 96.00 (96.03 down)."""
    market = by_hand(QUIET, (100, 100, 99, 99), *bars, QUIET, QUIET)
    assert outcome(run(plan(None, FALLS, sizing=UNIT, stop=stop("3"), target=target("3")), market)) == expected


def test_a_trailing_stop_moves_by_bars_that_are_over():
    bars = [(101, 110, 101, 101), (109, 109, 99.5, 104), (104, 104, 104, 104)]
    market = by_hand(QUIET, FIRES, *bars)
    trailed = run(plan(RISES, sizing=UNIT, trailing=Trailing(Decimal(5))), market)
    # 110 was seen on the bar of the entry: from the next bar on the stop is 104.50, and that bar's fall hits it.
    assert outcome(trailed) == (2, 101.0, 3, 104.5, "TRAILING")


def test_trailing_begins_with_its_gain():
    bars = [(101, 103, 98, 101), (101, 107, 101, 105), (105, 105, 101.6, 103), (103, 103, 101, 102), QUIET]
    market = by_hand(QUIET, FIRES, *bars)
    trailed = run(plan(RISES, sizing=UNIT, trailing=Trailing(Decimal(5), Decimal(5))), market)
    # 103 is no gain of 5 % and moves nothing; 107 is: its stop at 101.65 stands from the next bar on.
    assert outcome(trailed) == (2, 101.0, 4, 101.65, "TRAILING")


def test_time_is_up_at_the_open_after_the_last_bar():
    market = by_hand(QUIET, FIRES, (101, 101, 100, 100), (100, 100, 99, 99), (98, 98, 97, 97), QUIET, QUIET)
    assert outcome(run(plan(RISES, sizing=UNIT, max_bars=2), market)) == (2, 101.0, 4, 98.0, "TIME")


def test_a_reversal_closes_and_turns_at_one_open():
    market = by_hand(QUIET, FIRES, QUIET, (100, 100, 99, 99), (97, 97, 97, 97), (96, 96, 96, 96))
    first, second = run(plan(RISES, FALLS, sizing=UNIT, reverse=True), market).trade_list()
    assert (first["side"], first["exit_bar"], first["exit_price"], first["reason"]) == ("BUY", 4, 97.0, "REVERSAL")
    assert (second["side"], second["entry_bar"], second["entry_price"], second["pnl"]) == ("SELL", 4, 97.0, 10.0)


def test_without_reverse_an_opposite_signal_changes_nothing():
    market = by_hand(QUIET, FIRES, QUIET, (100, 100, 99, 99), (97, 97, 97, 97), (96, 96, 96, 96))
    assert outcome(run(plan(RISES, FALLS, sizing=UNIT), market)) == (2, 100.0, 5, 96.0, "END")


def test_a_rule_ends_a_trade_at_the_next_open():
    market = by_hand(QUIET, FIRES, QUIET, (100, 100, 99, 99), (97, 98, 97, 97), QUIET)
    leaving = plan(RISES, sizing=UNIT, long_exit=rule_of(FALLS, "exit"))
    assert outcome(run(leaving, market)) == (2, 100.0, 4, 97.0, "RULE")


def test_a_missing_bar_delays_an_exit_and_ends_an_entry():
    leaving = plan(RISES, sizing=UNIT, long_exit=rule_of(FALLS, "exit"))
    market = by_hand(QUIET, FIRES, QUIET, (100, 100, 99, 99), None, (96, 96, 96, 96), QUIET)
    assert outcome(run(leaving, market)) == (2, 100.0, 5, 96.0, "RULE")
    missed = run(leaving, by_hand(QUIET, FIRES, None, QUIET, QUIET))
    assert missed.signals["no_bar"] == 1 and not len(missed.trades)
    assert any(line.startswith("NO_TRADES") for line in missed.warnings)


def test_a_symbol_without_a_last_bar_leaves_at_its_last_price():
    market = by_hand(QUIET, FIRES, (100, 100, 98, 98), None)
    assert outcome(run(plan(RISES, sizing=UNIT), market)) == (2, 100.0, 3, 98.0, "END")


def test_an_intraday_trade_leaves_at_the_square_off():
    bars = [QUIET] * 60
    bars[10] = FIRES
    market = by_hand(*bars, timeframe=15, first=MONDAY)
    day = plan(RISES, sizing=UNIT, intraday=IntradayHours())
    trade = only(run(day, market))
    assert (trade["entry_at"], trade["exit_at"], trade["reason"]) == (
        "2026-02-16T12:00:00+05:30", "2026-02-16T15:15:00+05:30", "SQUARE_OFF",
    )  # fmt: skip


def test_a_day_without_a_bar_at_the_square_off_ends_at_its_last_close():
    market = by_hand(QUIET, QUIET, FIRES, QUIET, (99, 99, 98, 98), timeframe=15)
    whole = plan(RISES, sizing=UNIT, intraday=IntradayHours())
    trade = only(run(whole, market))
    assert (trade["exit_bar"], trade["exit_price"], trade["reason"]) == (4, 99.0, "END")


@pytest.mark.parametrize(("bar", "taken"), [(0, 1), (21, 1), (22, 0), (24, 0)])
def test_entries_keep_the_hours_of_the_desk(bar, taken):
    """From 09:20 to 15:00: the bar at 09:30 is the first, the one at 14:45 the last that may fill an entry."""
    bars = [QUIET] * 26
    bars[bar] = FIRES
    result = run(plan(RISES, sizing=UNIT, intraday=IntradayHours()), by_hand(*bars, timeframe=15))
    assert result.signals["taken"] == taken and result.signals["out_of_hours"] == 1 - taken


# Many symbols, one account


def rows(*bars) -> np.ndarray:
    return np.array(bars, float)


def test_slots_go_to_the_highest_score():
    slow = rows(QUIET, FIRES, QUIET, QUIET)
    fast = rows(QUIET, (100, 103, 100, 103), QUIET, QUIET)
    ranked = plan(RISES, sizing=UNIT, rank=rule_of("roc(close, 1)", "rank", expect="number"))
    result = run(ranked, together(slow, fast, slow))
    assert only(result)["symbol"] == "NSE:S1-EQ"
    assert result.signals == {
        "fired": 3, "taken": 1, "no_slot": 2, "out_of_hours": 0, "no_money": 0, "no_bar": 0, "no_stop_level": 0,
        "refused_by_gates": 0, "locked": 0, "not_reached": 0,
    }  # fmt: skip


def test_an_exit_frees_its_slot_and_its_money_at_the_same_open():
    first = rows(QUIET, FIRES, QUIET, (100, 100, 99, 99), (99, 99, 99, 99), QUIET)
    second = rows(QUIET, QUIET, QUIET, FIRES, QUIET, QUIET)
    swapping = plan(RISES, long_exit=rule_of(FALLS, "exit"), cash="1000")
    one, other = run(swapping, together(first, second)).trade_list()
    assert (one["symbol"], one["exit_bar"], one["pnl"]) == ("NSE:S0-EQ", 4, -9.0)
    assert (other["symbol"], other["entry_bar"], other["quantity"]) == ("NSE:S1-EQ", 4, 9)  # 991 rupees buy nine


def test_all_in_shares_equity_between_slots_and_leverage_stretches_it():
    market = together(rows(QUIET, FIRES, QUIET, QUIET), rows(QUIET, FIRES, QUIET, QUIET))
    account = Account(cash=Decimal(10_050), slots=2)
    assert [t["quantity"] for t in run(plan(RISES, account=account), market).trade_list()] == [50, 50]
    levered = Account(cash=Decimal(10_050), slots=2, leverage=Decimal(3))
    assert [t["quantity"] for t in run(plan(RISES, account=levered), market).trade_list()] == [150, 150]


def test_what_cannot_be_paid_shrinks_and_charges_are_paid_first():
    market = by_hand(QUIET, FIRES, QUIET, QUIET)
    costs = Costs(charges=ChargeBroker.FYERS)
    trade = only(run(plan(RISES, cash="10010", costs=costs, sizing=Sizing(SizingMode.FIXED, Decimal(1_000))), market))
    assert trade["quantity"] == 100  # 10,000 and 3.97 of charges
    trade = only(run(plan(RISES, cash="10001", costs=costs), market))
    assert trade["quantity"] == 99


def test_risk_is_measured_to_the_stop_and_percent_of_equity():
    market = by_hand(QUIET, FIRES, QUIET, QUIET)
    risky = plan(RISES, stop=stop("3"), sizing=Sizing(SizingMode.RISK, Decimal(1)), cash="100000")
    assert only(run(risky, market))["quantity"] == 327  # 1,000 rupees over 3.05
    share = plan(RISES, sizing=Sizing(SizingMode.PERCENT, Decimal(25)), cash="100000")
    assert only(run(share, market))["quantity"] == 247  # 25,000 at the signal's 101


def test_an_account_cannot_grow_beyond_the_numbers():
    doubling = (
        [QUIET]
        + [(100, 200, 100, 200)]
        + [(2**power, 2 ** (power + 1), 2**power, 2 ** (power + 1)) for power in range(7, 19)]
    )
    bars = doubling * 12
    result = run(plan(RISES, max_bars=1, cash="90000000000"), by_hand(*bars, timeframe=1440))
    assert int(result.equity.min()) > 0 and int(np.abs(np.diff(result.equity)).max()) < 10**18
    assert result.cash == 90_000_000_000 * 10_000 + int(result.trades[:, k.T_PNL].sum())


def test_nothing_is_sold_for_nothing():
    market = by_hand((0.05, 0.05, 0.05, 0.05), (0.05, 0.1, 0.05, 0.1), *[(0.05, 0.05, 0.05, 0.05)] * 2)
    trade = only(run(plan(RISES, sizing=UNIT, costs=Costs(slippage_bps=Decimal(7))), market))
    assert (trade["entry_price"], trade["exit_price"]) == (0.10, 0.05)


def test_an_account_that_loses_everything_stops():
    market = by_hand(QUIET, (100, 100, 99, 99), QUIET, (100, 250, 100, 250), QUIET, (100, 100, 99, 99), QUIET, QUIET)
    result = run(plan(None, FALLS, cash="1000"), market)
    assert only(result)["reason"] == "RUIN" and result.figures["final_equity"] == -350.0
    assert any(line.startswith("RUIN") for line in result.warnings)


def test_the_last_bar_can_end_as_published_results_do():
    market = by_hand(QUIET, FIRES, QUIET, QUIET, (100, 100, 98, 98))
    plain = run(plan(RISES, FALLS, reverse=True, sizing=UNIT), market)
    assert plain.figures["final_equity"] == 100_000.0 and not any("LATE" in line for line in plain.warnings)
    late = run(plan(RISES, FALLS, reverse=True, sizing=UNIT, late_orders=True), market)
    assert len(late.trades) == 1 and late.figures["final_equity"] == 100_020.0
    assert any("LATE_ORDER" in line and "100,000.00" in line for line in late.warnings)


# What is refused


def test_silence_is_said_aloud():
    with pytest.raises(BacktestRefused) as never:
        run(plan(RISES), by_hand(QUIET, QUIET, QUIET))
    assert never.value.code == "NEVER_FIRED"
    with pytest.raises(BacktestRefused) as short:
        run(plan("close > sma(close, 50)"), by_hand(QUIET, FIRES, QUIET))
    assert short.value.code == "TOO_SHORT"
    with pytest.raises(BacktestRefused) as one:
        run(plan(RISES), by_hand(QUIET))
    assert one.value.code == "EMPTY_RANGE"


def test_a_contract_of_the_library_runs_with_its_own_exits():
    body = load_library()["ema_alignment"]
    draw = np.random.default_rng(5)
    market = together(*(wandering(int(draw.integers(1_000)), 74, spread=0.004) for _ in range(8)))
    contract = plan_of_contract(
        body, name="ema", account=Account(slots=4), costs=Costs(charges=ChargeBroker.FYERS),
        parameters={"fast": 3, "slow": 10, "base": 20},
    )  # fmt: skip
    result = run(contract, market)
    assert len(result.trades)
    assert {trade["reason"] for trade in result.trade_list()} <= {"STOP", "TARGET", "TIME", "SQUARE_OFF", "END"}
    assert all(trade["charges"] > 0 and trade["stop"] for trade in result.trade_list())


def test_caps_of_the_house_shrink_an_order():
    market = together(*(rows(QUIET, FIRES, QUIET, QUIET) for _ in range(3)))
    sizing = Sizing(SizingMode.FIXED, Decimal(10_000))
    capped = Account(cash=Decimal(100_000), slots=3, position_cap_pct=Decimal(20), exposure_cap_pct=Decimal(50))
    result = run(plan(RISES, sizing=sizing, account=capped), market)
    assert [trade["quantity"] for trade in result.trade_list()] == [200, 200, 100]
    small = Account(cash=Decimal(100_000), slots=3, order_cap=Decimal(1_050))
    assert [t["quantity"] for t in run(plan(RISES, sizing=sizing, account=small), market).trade_list()] == [10] * 3


def test_a_size_by_volatility_is_what_the_days_before_moved():
    """Daily closes that move by the same one percent up and down: the deviation is known, and so is the size."""
    closes = [100.0 if day % 2 else 101.0 for day in range(24)]
    market = by_hand(*[(c, c, c, c) for c in closes], timeframe=1440)
    sized = plan("close > close[1]", sizing=sizing_of("volatility:4:10"), cash="1000000", stop=stop("5"), max_bars=1)
    first = run(sized, market).trade_list()[0]
    signal = first["entry_bar"] - 1
    moves = np.diff(np.log(closes[: signal + 1]))[-10:].std(ddof=1) * np.sqrt(252) * 100
    wanted = volatility_target(
        equity_paise=100_000_000, target_pct=Decimal(4), volatility_pct=float(moves), entry=Decimal(101)
    )
    assert signal >= 10 and abs(first["quantity"] - wanted) <= 1 and wanted > 100


def test_rupees_buy_whole_units_at_the_signals_price():
    market = by_hand(QUIET, FIRES, (101, 101, 100, 100), QUIET)
    assert only(run(plan(RISES, sizing=sizing_of("rupees:1020")), market))["quantity"] == 10
