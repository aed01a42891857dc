"""Limit entries, parts booked, impact, bands, corporate actions and gates, written out bar by bar."""

from dataclasses import replace
from datetime import date, time
from decimal import Decimal

import numpy as np
import pytest
from django.core.management import call_command

from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import ContractTerms, CorporateAction
from strategies.backtest.plan import (
    Account,
    Booking,
    Costs,
    HouseGates,
    LimitEntry,
    Sizing,
    SizingMode,
    Trailing,
    rule_of,
)
from strategies.contracts.schema import TargetKind, TargetSpec
from tests.unit.backtest.markets import by_hand, plan, together, wandering
from tests.unit.backtest.test_fills import FIRES, QUIET, RISES, UNIT, only, outcome, stop, target
from trading.venue.charges import ChargeBroker, ChargeSegment, charges_for_order


def limit(percent: str, bars: int = 1) -> LimitEntry:
    return LimitEntry(Decimal(percent), bars)


def booking(percent: str, share: str) -> Booking:
    return Booking(TargetSpec(TargetKind.PERCENT, Decimal(percent)), Decimal(share))


# Limit entries: the signal's close is 101, two percent below it 98.95 (98.98 down to the tick)


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(101, 101, 98.9, 100)], (2, 98.95, 4, 100.0, "END")),  # reached inside the bar: at its price
        ([(98, 99, 97.5, 98)], (2, 98.0, 4, 100.0, "END")),  # the bar opens below it: at the better open
        ([(101, 101, 100, 101), (100, 100, 98.95, 99)], (3, 98.95, 4, 100.0, "END")),  # it stands for a second bar
    ],
)
def test_a_limit_entry_waits_for_its_price(bars, expected):
    market = by_hand(QUIET, FIRES, *bars, *[QUIET] * (3 - len(bars)))
    assert outcome(run(plan(RISES, sizing=UNIT, entry=limit("2", 2)), market)) == expected


def test_a_limit_entry_whose_time_is_over_is_no_trade():
    market = by_hand(QUIET, FIRES, QUIET, QUIET, (98, 98, 97, 97), QUIET)
    result = run(plan(RISES, sizing=UNIT, entry=limit("2", 2)), market)
    assert not len(result.trades) and result.signals["not_reached"] == 1


def test_on_the_bar_of_a_limit_entry_a_stop_counts_and_a_profit_does_not():
    """Entry at 98.95; stop 3 % below at 95.95, target 3 % above at 101.95."""
    both = plan(RISES, sizing=UNIT, entry=limit("2"), stop=stop("3"), target=target("3"))
    fell = by_hand(QUIET, FIRES, (101, 103, 95, 96), QUIET, QUIET)
    assert outcome(run(both, fell)) == (2, 98.95, 2, 95.95, "STOP")
    rose = by_hand(QUIET, FIRES, (101, 103, 98, 101), (101, 102, 101, 101), QUIET)
    assert outcome(run(both, rose)) == (2, 98.95, 3, 101.95, "TARGET")


# Parts booked


def test_parts_are_booked_at_their_levels_each_an_exit_with_its_own_charges():
    bars = [(101, 101, 101, 101), (101, 104, 101, 104), (104, 110, 104, 109), (100, 100, 100, 100)]
    market = by_hand(QUIET, FIRES, *bars, QUIET)
    plan_ = plan(
        RISES, sizing=UNIT, bookings=(booking("2", "50"), booking("5", "30")), stop=stop("3"),
        costs=Costs(charges=ChargeBroker.FYERS), safe_after_booking=True,
    )  # fmt: skip
    first, second, rest = run(plan_, market).trade_list()
    assert [one["quantity"] for one in (first, second, rest)] == [5, 3, 2]
    assert (first["exit_bar"], first["exit_price"], first["reason"]) == (3, 103.05, "PARTIAL")  # 103.02 up
    assert (second["exit_bar"], second["exit_price"], second["reason"]) == (4, 106.05, "PARTIAL")
    assert (rest["exit_bar"], rest["exit_price"], rest["reason"]) == (5, 100.0, "STOP")  # the stop went to 101: a gap
    result = run(plan_, market)
    assert result.cash == 100_000 * 10_000 + sum(round(one["pnl"] * 10_000) for one in result.trade_list())
    paid_in = sum(int(row[8]) for row in result.trades)
    at_entry = charges_for_order(
        broker=ChargeBroker.FYERS, segment=ChargeSegment.EQUITY_INTRADAY, side="BUY", quantity=10, value_paise=101_000,
        on_date=date(2026, 2, 16),
    )  # fmt: skip
    assert paid_in == at_entry.total


def test_a_stop_goes_before_a_part_in_one_bar():
    market = by_hand(QUIET, FIRES, (101, 104, 97, 101), QUIET, QUIET)
    plan_ = plan(RISES, sizing=UNIT, bookings=(booking("2", "50"),), stop=stop("3"))
    assert outcome(run(plan_, market)) == (2, 101.0, 2, 97.95, "STOP")


def test_a_trailing_stop_by_average_range_follows_bars_that_are_over():
    bars = [(101, 111, 101, 110), (110, 110, 107.4, 108), (108, 108, 100, 101), QUIET]
    market = by_hand(QUIET, FIRES, *bars)
    trailed = run(plan(RISES, sizing=UNIT, trailing=Trailing(Decimal(0), atr_multiple=Decimal(1), period=1)), market)
    # After the bar to 111 the range is 10: 101; after the next, of range 2.6, 108.40: hit in the bar that opens below.
    assert outcome(trailed) == (2, 101.0, 4, 108.0, "TRAILING")


# Slippage


def test_half_of_the_spread_is_paid_on_either_side():
    market = by_hand(QUIET, FIRES, (103, 104, 99, 100), QUIET, (98, 99, 97, 98))
    wide = run(plan(RISES, sizing=UNIT, costs=Costs(spread_ticks=4)), market)
    assert outcome(wide) == (2, 103.1, 4, 97.9, "END")


def test_a_large_order_moves_the_price_and_takes_a_part_of_the_volume():
    market = by_hand(QUIET, FIRES, QUIET, QUIET, QUIET)  # a thousand units in every bar
    small = Sizing(SizingMode.FIXED, Decimal(100))
    large = Sizing(SizingMode.FIXED, Decimal(300))
    costs = Costs(impact_bps=Decimal(10))
    assert outcome(run(plan(RISES, sizing=small, costs=costs), market))[1] == 100.0  # a tenth: no impact
    # Three tenths: twice ten basis points, to the tick.
    assert outcome(run(plan(RISES, sizing=large, costs=costs), market))[1::2] == (100.2, 99.8)
    capped = run(plan(RISES, sizing=large, costs=Costs(participation_pct=Decimal(5))), market)
    assert only(capped)["quantity"] == 50


def test_fills_by_volume_without_volume_are_refused():
    market = by_hand(QUIET, FIRES, QUIET, QUIET)
    silent = replace(market, window=replace(market.window, volume=np.zeros_like(market.window.volume)))
    with pytest.raises(BacktestRefused, match="NO_VOLUME"):
        run(plan(RISES, sizing=UNIT, costs=Costs(impact_bps=Decimal(10))), silent)


# What the exchange does


def test_nobody_sells_at_the_upper_circuit_and_nobody_buys_at_the_lower():
    locked_up, locked_down = (110, 110, 110, 110), (99, 99, 99, 99)
    days = [QUIET, (109, 110, 109, 110), (121, 121, 121, 121), QUIET, QUIET]
    market = replace(by_hand(*days, timeframe=1440), bands_pct=(Decimal(10),))
    result = run(plan(RISES, sizing=UNIT), market)
    assert not len(result.trades) and result.signals["locked"] == 1
    held = [QUIET, FIRES, (101, 110, 101, 110), locked_down, (95, 95, 90, 91), QUIET]
    market = replace(by_hand(*held, timeframe=1440), bands_pct=(Decimal(10),))
    # The stop at 97.95 is not reached by the day locked at 99; the time is up there, and nobody buys until the next.
    assert outcome(run(plan(RISES, sizing=UNIT, max_bars=1, stop=stop("3")), market)) == (2, 101.0, 4, 95.0, "TIME")
    assert locked_up[0] > locked_down[0]


def test_an_order_above_the_freeze_quantity_is_cut_and_every_piece_pays_its_brokerage():
    market = replace(by_hand(QUIET, FIRES, QUIET, QUIET, QUIET), freezes=(100,))
    fixed = Sizing(SizingMode.FIXED, Decimal(250))
    result = run(plan(RISES, sizing=fixed, costs=Costs(charges=ChargeBroker.FYERS)), market)
    pieces = [
        charges_for_order(
            broker=ChargeBroker.FYERS, segment=ChargeSegment.EQUITY_INTRADAY, side="BUY", quantity=units,
            value_paise=units * 10_000, on_date=date(2026, 2, 16),
        ).total
        for units in (100, 100, 50)
    ]  # fmt: skip
    assert int(result.trades[0][8]) == sum(pieces)


def test_lots_and_ticks_change_on_their_day():
    days = [QUIET, FIRES, QUIET, FIRES, (100.2, 100.2, 100.2, 100.2), QUIET, QUIET]
    market = by_hand(*days, timeframe=1440)
    third = date.fromordinal(int(market.day_ordinals[3]))
    later = ContractTerms(third, (Decimal(1),), (4,), (0,))
    exits = plan(RISES, sizing=UNIT, max_bars=1, costs=Costs(slippage_bps=Decimal(1)))
    first, second = run(exits, replace(market, later_terms=(later,))).trade_list()
    assert (first["quantity"], first["entry_price"]) == (10, 100.05)
    assert (second["quantity"], second["entry_price"]) == (8, 101.0)


def test_a_split_changes_units_and_levels_and_no_value():
    days = [QUIET, FIRES, (101, 101, 101, 101), (50.5, 51, 50, 50.5), (50.5, 50.5, 48.9, 49), QUIET]
    market = by_hand(*days, timeframe=1440)
    ex_date = date.fromordinal(int(market.day_ordinals[3]))
    split = replace(market, actions=(CorporateAction("NSE:S0-EQ", ex_date, after=2, before=1),))
    result = run(plan(RISES, sizing=UNIT, stop=stop("3")), split)
    trade = only(result)
    # Ten become twenty at half of 101; the stop at 97.95 becomes 48.95.
    assert (trade["quantity"], trade["entry_price"], trade["exit_price"]) == (20, 50.5, 48.95)
    assert trade["pnl"] == pytest.approx(20 * (48.95 - 50.5)) and result.equity[3] == 100_000 * 10_000
    assert int(result.equity[-1]) == result.cash == 100_000 * 10_000 + int(result.trades[0][10])


def test_rules_see_a_split_as_no_fall():
    days = [QUIET, QUIET, (50, 50, 50, 50), (50, 51, 50, 51), (51, 51, 51, 51), (51, 51, 51, 51)]
    market = by_hand(*days, timeframe=1440)
    ex_date = date.fromordinal(int(market.day_ordinals[2]))
    split = replace(market, actions=(CorporateAction("NSE:S0-EQ", ex_date, after=2, before=1),))
    falls = plan("close < close[1] * 0.9", "close > close[1]", sizing=UNIT)
    assert only(run(falls, market))["side"] == "BUY"
    assert only(run(falls, split))["side"] == "SELL"


def test_a_dividend_is_paid_to_who_holds_and_by_who_is_short():
    days = [QUIET, FIRES, QUIET, QUIET, QUIET, QUIET]
    market = by_hand(*days, timeframe=1440)
    ex_date = date.fromordinal(int(market.day_ordinals[3]))
    paying = replace(market, actions=(CorporateAction("NSE:S0-EQ", ex_date, dividend=Decimal("2.50")),))
    assert only(run(plan(RISES, sizing=UNIT), paying))["pnl"] == 25.0
    assert only(run(plan(None, RISES, sizing=UNIT), paying))["pnl"] == -25.0


def test_fractions_of_a_share_are_paid_in_cash():
    market = by_hand(QUIET, FIRES, QUIET, (66.65, 66.65, 66.65, 66.65), QUIET, QUIET, timeframe=1440)
    ex_date = date.fromordinal(int(market.day_ordinals[3]))
    bonus = replace(market, actions=(CorporateAction("NSE:S0-EQ", ex_date, after=3, before=2),))
    result = run(plan(RISES, sizing=Sizing(SizingMode.FIXED, Decimal(7))), bonus)
    assert only(result)["quantity"] == 10  # ten and a half; the half is paid
    assert result.cash == 100_000 * 10_000 + int(result.trades[0][10])


# Gates


def test_after_a_stop_out_an_instrument_rests():
    stopped = [QUIET, FIRES, (101, 101, 97, 98), FIRES, QUIET, FIRES, QUIET, QUIET]
    market = by_hand(*stopped)
    free = run(plan(RISES, sizing=UNIT, stop=stop("3"), max_bars=1), market)
    rested = run(plan(RISES, sizing=UNIT, stop=stop("3"), max_bars=1, gates=HouseGates(cooldown_min=15)), market)
    assert len(free.trades) == 3 and len(rested.trades) == 2 and rested.signals["refused_by_gates"] == 1


def test_a_day_has_its_entries_its_losses_and_an_end_of_both():
    ups = [QUIET, FIRES] * 6
    market = by_hand(*ups, QUIET, QUIET)
    three = run(plan(RISES, sizing=UNIT, max_bars=1, gates=HouseGates(trades_per_day=3)), market)
    assert len(three.trades) == 3 and three.signals["refused_by_gates"] == 3
    falls = [QUIET, FIRES, (101, 101, 90, 90), FIRES, QUIET, QUIET]
    lossy = by_hand(*falls)
    sizing = Sizing(SizingMode.ALL_IN)
    gates = HouseGates(daily_loss_soft_pct=Decimal(5))
    locked = run(plan(RISES, sizing=sizing, max_bars=1, gates=gates), lossy)
    assert len(locked.trades) == 1 and locked.signals["refused_by_gates"] == 1
    hard = HouseGates(daily_loss_soft_pct=Decimal(5), daily_loss_hard_pct=Decimal(10), flatten=True)
    flat = run(plan(RISES, sizing=sizing, gates=hard), by_hand(QUIET, FIRES, (101, 101, 89, 89), QUIET, QUIET, QUIET))
    assert only(flat)["reason"] == "DAILY_LOSS" and only(flat)["exit_bar"] == 3


def test_a_drawdown_halves_and_at_last_halts():
    gates = HouseGates(
        drawdown_cautious_pct=Decimal(10), drawdown_defensive_pct=Decimal(15), drawdown_halt_pct=Decimal(20),
        drawdown_hysteresis_pct=Decimal(2),
    )  # fmt: skip
    falls = [QUIET, FIRES, (100, 100, 88, 88), (88, 89, 88, 89), (88, 88, 88, 88), QUIET, QUIET]
    halved = run(plan(RISES, sizing=Sizing(SizingMode.ALL_IN), max_bars=1, gates=gates), by_hand(*falls))
    first, second = halved.trade_list()
    assert (first["quantity"], second["quantity"]) == (999, 500)
    falls[2] = (100, 100, 79, 79)
    halted = run(plan(RISES, sizing=Sizing(SizingMode.ALL_IN), gates=gates), by_hand(*falls))
    assert only(halted)["reason"] == "DRAWDOWN" and halted.signals["refused_by_gates"] == 1


def test_what_a_plan_cannot_mean_is_refused():
    with pytest.raises(BacktestRefused, match="BOOKING"):
        plan(RISES, bookings=(booking("1", "60"), booking("2", "60")))
    with pytest.raises(BacktestRefused, match="NO_STOP"):
        plan(RISES, bookings=(Booking(TargetSpec(TargetKind.R_MULTIPLE, Decimal(1)), Decimal(50)),))
    with pytest.raises(BacktestRefused, match="LIMIT"):
        plan(RISES, entry=limit("1", 0))
    with pytest.raises(BacktestRefused, match="ATR_PERIOD"):
        plan(
            RISES, trailing=Trailing(Decimal(0), atr_multiple=Decimal(2), period=5),
            target=TargetSpec(TargetKind.ATR, Decimal(1), 7),
        )  # fmt: skip


def test_the_same_day_twice_gives_the_same_bytes_with_everything_on():
    market = replace(
        together(*(wandering(seed, 150, spread=0.01) for seed in range(3)), timeframe=15), bands_pct=(Decimal(10),) * 3
    )
    everything = plan(
        "close > highest(high, 3)[1]", "close < lowest(low, 3)[1]", entry=limit("0.1", 3), stop=stop("2"),
        bookings=(booking("1", "50"),), safe_after_booking=True, trailing=Trailing(Decimal(2), Decimal(1)),
        gates=HouseGates(trades_per_day=6, cooldown_min=30, daily_loss_soft_pct=Decimal(3)),
        account=Account(cash=Decimal(200_000), slots=2),
        costs=Costs(charges=ChargeBroker.FYERS, slippage_bps=Decimal(2), spread_ticks=1, impact_bps=Decimal(5)),
    )  # fmt: skip
    first, second = run(everything, market), run(everything, market)
    assert len(first.trades) > 5 and first.as_json() == second.as_json()
    assert first.cash == 200_000 * 10_000 + int(first.trades[:, 10].sum())


def test_a_trade_ends_at_its_time_of_day():
    market = by_hand(QUIET, FIRES, QUIET, QUIET, FIRES, QUIET, QUIET)  # from 09:15 on, five minutes each
    result = run(plan(RISES, sizing=UNIT, leave_at=time(9, 35)), market)
    assert outcome(result) == (2, 100.0, 4, 100.0, "SQUARE_OFF") and result.signals["out_of_hours"] == 1


def test_a_target_may_be_a_price_that_a_rule_asks_for():
    market = by_hand(QUIET, (100, 103, 100, 101), (101, 102, 101, 101), (102, 103.1, 101, 101), QUIET)
    asked = rule_of("high + 0.02", "target", expect="number")
    spec = TargetSpec(TargetKind.PRICE, None, rule="high + 0.02")
    assert outcome(run(plan(RISES, sizing=UNIT, target=spec, target_rule=asked), market)) == (
        2, 101.0, 3, 103.05, "TARGET",
    )  # fmt: skip
    wrong = rule_of("low", "target", expect="number")
    refused = run(plan(RISES, sizing=UNIT, target=spec, target_rule=wrong, max_bars=2), market)
    assert refused.signals["no_stop_level"] == refused.signals["fired"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--slippage", "wide"], "NOT_A_NUMBER"),
        (["--slippage", "spread:x"], "NOT_A_NUMBER"),
        (["--slippage", "spread:1+spread:2"], "SLIPPAGE"),
        (["--limit", "2:x"], "NOT_A_NUMBER"),
        (["--book", "2"], "NOT_A_NUMBER"),
        (["--book", "1:60", "2:60"], "BOOKING"),
        (["--slippage", "volume:5"], "NO_VOLUME"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, capsys, more, said):
    file = tmp_path / "ABC.csv"
    file.write_text("date,open,high,low,close\n" + "".join(f"2026-02-{day:02d},10,11,9,10.5\n" for day in range(2, 7)))
    with pytest.raises(SystemExit) as refused:
        call_command("backtest", candles=str(file), long="close > open", **_options(more))
    error = capsys.readouterr().err
    assert refused.value.code == 2 and said in error and error.count("\n") == 1


def _options(words: list[str]) -> dict[str, object]:
    name, *values = words
    return {name.lstrip("-"): values if name == "--book" else values[0]}
