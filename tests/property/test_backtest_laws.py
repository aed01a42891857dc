"""Laws no backtest may break, on random rules, markets and accounts."""

from datetime import date
from decimal import Decimal

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from risk.sizing import percent_equity, risk_per_trade
from strategies.backtest import kernels as k
from strategies.backtest.charges import order_charges, rate_rows
from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.metrics import figures
from strategies.backtest.plan import Account, Costs, IntradayHours, Plan, Sizing, SizingMode, Trailing, rule_of
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from strategies.tactics.stops import stop_and_target
from tests.unit.backtest.markets import plan, together, wandering
from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import Side
from trading.venue.charges import ChargeBroker, ChargeSegment, charges_for_order
from trading.venue.matching import units

dates = st.dates(date(2019, 1, 1), date(2026, 12, 31))
TICKS = [Decimal("0.01"), Decimal("0.05"), Decimal("0.10"), Decimal("0.50"), Decimal("5.00")]


@given(
    broker=st.sampled_from(ChargeBroker), segment=st.sampled_from(ChargeSegment), side=st.sampled_from(Side),
    exchange=st.sampled_from(["NSE", "BSE"]), day=dates,
    value=st.one_of(st.integers(1, 10_000), st.integers(1, 10**9), st.integers(1, 10**13)),
)  # fmt: skip
@settings(max_examples=1_500, deadline=None)
@example(ChargeBroker.FYERS, ChargeSegment.EQUITY_INTRADAY, Side.SELL, "NSE", date(2026, 4, 2), 6_666_667)  # at the cap
@example(ChargeBroker.FYERS, ChargeSegment.EQUITY_INTRADAY, Side.SELL, "NSE", date(2026, 4, 2), 2_000)  # half a paisa
def test_an_order_costs_the_same_paise_as_in_the_ledger(broker, segment, side, exchange, day, value):
    rows, rates = rate_rows(np.array([day.toordinal()]), broker=broker, segment=segment, exchange=exchange)
    known = charges_for_order(
        broker=broker, segment=segment, side=side, quantity=1, value_paise=value, on_date=day, exchange=exchange
    )
    assert order_charges(value, rates, rows[0], 0 if side is Side.BUY else 1) == known.total


def test_rates_change_on_the_day_they_change():
    days = np.arange(date(2026, 2, 26).toordinal(), date(2026, 3, 4).toordinal())
    rows, rates = rate_rows(days, broker=ChargeBroker.FYERS, segment=ChargeSegment.EQUITY_INTRADAY, exchange="NSE")
    assert rows.tolist() == [0, 0, 0, 1, 1, 1] and len(rates) == 2


levels_drawn = st.tuples(
    st.sampled_from(["percent", "atr", "price"]), st.integers(1, 400),
    st.sampled_from(["percent", "atr", "r_multiple"]), st.integers(1, 400),
)  # fmt: skip


@given(
    side=st.sampled_from(Side), paise=st.integers(50, 10_000_000), tick=st.sampled_from(TICKS), drawn=levels_drawn,
    average=st.floats(0.01, 500), asked=st.floats(0.01, 100_000),
)  # fmt: skip
@settings(max_examples=1_500, deadline=None)
def test_levels_are_those_of_the_desk(side, paise, tick, drawn, average, asked):
    stop_kind, stop_tenths, target_kind, target_tenths = drawn
    entry = to_tick(Decimal(paise) / 100, tick=tick, side=side)
    assume(entry > 0)
    body = _Levels(
        StopSpec(StopKind(stop_kind), None if stop_kind == "price" else Decimal(stop_tenths) / 10),
        TargetSpec(TargetKind(target_kind), Decimal(target_tenths) / 10),
    )
    average, asked = round(average, 6), round(asked, 2)
    kinds = {"percent": k.BY_PERCENT, "atr": k.BY_ATR, "price": k.BY_PRICE, "r_multiple": k.BY_RISK}
    ours = k.levels(
        side.sign, int(entry * 10_000), int(tick * 10_000), kinds[stop_kind], stop_tenths * 100_000,
        kinds[target_kind], target_tenths * 100_000, average, asked, np.nan,
    )  # fmt: skip
    try:
        stop, target = stop_and_target(side, entry, average, body, tick, stop_price=asked)  # type: ignore[arg-type]
    except TradingError:
        assert not ours[2]
        return
    assert ours == (int(stop * 10_000), int(target * 10_000), True)


class _Levels:
    """The two fields of a contract that levels are made of."""

    def __init__(self, stop: StopSpec, target: TargetSpec) -> None:
        self.stop, self.target = stop, target


@given(
    equity=st.integers(1, 10**12), share=st.integers(1, 1_000), entry=st.integers(1, 2_000_000),
    away=st.integers(1, 50_000),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_sizes_are_those_of_the_desk(equity, share, entry, away):
    pct, price, stop = Decimal(share) / 10, Decimal(entry) / 100, Decimal(entry + away) / 100
    common = (equity * 100, 1, 100, entry * 100, entry * 100, (entry + away) * 100, 1)
    assert k.wanted_quantity(k.PERCENT_EQUITY, share * 1_000, *common) == percent_equity(
        equity_paise=equity, share_pct=pct, entry=price
    )
    assert k.wanted_quantity(k.RISK_PER_TRADE, share * 1_000, *common) == risk_per_trade(
        equity_paise=equity, risk_pct=pct, entry=price, stop=stop
    )


@st.composite
def backtests(draw) -> tuple[Plan, list[np.ndarray], int]:
    """Rules, exits, account and rows of one to four symbols, some with holes."""
    seed, symbols = draw(st.integers(0, 10_000)), draw(st.integers(1, 4))
    timeframe = draw(st.sampled_from([15, 1440]))
    bars = draw(st.integers(30, 120))
    holes = draw(st.sampled_from([0.0, 0.1]))
    data = [wandering(seed + at, bars, spread=0.01, holes=holes) for at in range(symbols)]
    length = draw(st.integers(2, 8))
    exits: dict[str, object] = {}
    if draw(st.booleans()):
        exits["stop"] = StopSpec(StopKind.ATR, Decimal(draw(st.integers(5, 30))) / 10, 5)
    if draw(st.booleans()):
        exits["target"] = TargetSpec(TargetKind.PERCENT, Decimal(draw(st.integers(5, 40))) / 10)
    if draw(st.booleans()):
        exits["trailing"] = Trailing(Decimal(draw(st.integers(5, 30))) / 10, Decimal(draw(st.integers(0, 20))) / 10)
    if draw(st.booleans()):
        exits["max_bars"] = draw(st.integers(1, 10))
    if draw(st.booleans()):
        exits["long_exit"] = rule_of("close < open", "exit")
    if timeframe == 15 and draw(st.booleans()):
        exits["intraday"] = IntradayHours()
    sizings = [
        Sizing(SizingMode.ALL_IN),
        Sizing(SizingMode.FIXED, Decimal(37)),
        Sizing(SizingMode.PERCENT, Decimal(30)),
    ]
    if "stop" in exits:
        sizings.append(Sizing(SizingMode.RISK, Decimal(1)))
    charges = draw(st.sampled_from([None, ChargeBroker.FYERS, ChargeBroker.ZERODHA]))
    made = plan(
        f"close > highest(high, {length})[1]", f"close < lowest(low, {length})[1]", **exits,
        reverse=draw(st.booleans()), sizing=draw(st.sampled_from(sizings)),
        rank=rule_of("roc(close, 3)", "rank", expect="number") if draw(st.booleans()) else None,
        account=Account(
            cash=Decimal(draw(st.integers(2_000, 3_000_000))), slots=draw(st.integers(1, 4)),
            leverage=Decimal(draw(st.integers(1, 5))),
        ),
        costs=Costs(charges=charges, slippage_bps=Decimal(draw(st.integers(0, 20)))),
    )  # fmt: skip
    return made, data, timeframe


def result_of(drawn: tuple[Plan, list[np.ndarray], int], bars: int | None = None) -> Result:
    made, data, timeframe = drawn
    try:
        return run(made, together(*(rows[:bars] for rows in data), timeframe=timeframe))
    except BacktestRefused as refused:
        assert refused.code in {"NEVER_FIRED", "TOO_SHORT", "EMPTY_RANGE"}
        assume(False)
        raise


@given(backtests())
@settings(max_examples=250, deadline=None)
def test_cash_adds_up_exactly(drawn):
    result = result_of(drawn)
    began = int(result.plan.account.cash * 10_000)
    rows = result.trades
    gross = rows[:, k.T_SIDE] * rows[:, k.T_QUANTITY] * (rows[:, k.T_EXIT] - rows[:, k.T_ENTRY])
    charges = rows[:, k.T_CHARGES_IN] + rows[:, k.T_CHARGES_OUT]
    assert (rows[:, k.T_PNL] == gross - 100 * charges).all()
    assert result.cash == began + int(rows[:, k.T_PNL].sum()) == int(result.equity[-1])
    assert sum(result.signals.values()) - 2 * result.signals["fired"] <= 0


@given(backtests())
@settings(max_examples=250, deadline=None)
def test_equity_is_cash_and_what_is_held_at_every_close(drawn):
    """Rebuilt from the trades alone, in exact integers, at every bar."""
    result = result_of(drawn)
    close = result.market.prices[3]
    expected = np.full(result.market.bars, int(result.plan.account.cash * 10_000), np.int64)
    for row in result.trades:
        symbol, side, entered, left = (int(row[at]) for at in (k.T_SYMBOL, k.T_SIDE, k.T_ENTRY_BAR, k.T_EXIT_BAR))
        expected[left:] += row[k.T_PNL]
        mark = int(row[k.T_ENTRY])
        for bar in range(entered, left):
            if np.isfinite(close[symbol, bar]):
                mark = int(units(close[symbol, bar]))
            expected[bar] += side * row[k.T_QUANTITY] * (mark - row[k.T_ENTRY]) - 100 * row[k.T_CHARGES_IN]
    if not result.counters[k.C_RUIN]:
        assert (result.equity == expected).all()


@given(backtests())
@settings(max_examples=250, deadline=None)
def test_every_fill_is_a_price_of_its_bar_and_every_charge_the_ledgers(drawn):
    result = result_of(drawn)
    o, h, lo, _ = result.market.prices
    plan_, slip = result.plan, float(result.plan.costs.slippage_bps) / 10_000
    held: dict[int, int] = {}
    for row in sorted(result.trades.tolist(), key=lambda row: (row[k.T_SYMBOL], row[k.T_ENTRY_BAR], row[k.T_EXIT_BAR])):
        symbol = row[k.T_SYMBOL]
        assert row[k.T_SIGNAL_BAR] == row[k.T_ENTRY_BAR] - 1 and row[k.T_ENTRY_BAR] <= row[k.T_EXIT_BAR]
        assert row[k.T_ENTRY_BAR] >= held.get(symbol, 0)  # never two positions in one symbol
        held[symbol] = row[k.T_EXIT_BAR]
        opened = float(o[symbol, row[k.T_ENTRY_BAR]])
        assert abs(row[k.T_ENTRY] / 10_000 - opened) <= opened * slip + 0.0501
        bar = row[k.T_EXIT_BAR]
        if np.isfinite(lo[symbol, bar]):
            low, high = float(lo[symbol, bar]), float(h[symbol, bar])
            assert low * (1 - slip) - 0.0501 <= row[k.T_EXIT] / 10_000 <= high * (1 + slip) + 0.0501
        if plan_.costs.charges is not None:
            sides = (Side.BUY, Side.SELL) if row[k.T_SIDE] > 0 else (Side.SELL, Side.BUY)
            for side, price, column, place in (
                (sides[0], row[k.T_ENTRY], k.T_CHARGES_IN, row[k.T_ENTRY_BAR]),
                (sides[1], row[k.T_EXIT], k.T_CHARGES_OUT, bar),
            ):  # fmt: skip
                known = charges_for_order(
                    broker=plan_.costs.charges, segment=plan_.costs.segment, side=side, quantity=row[k.T_QUANTITY],
                    value_paise=(row[k.T_QUANTITY] * price + 50) // 100,
                    on_date=date.fromordinal(int(result.market.day_ordinals[place])),
                )  # fmt: skip
                assert row[column] == known.total


@given(backtests(), st.floats(0.4, 0.95))
@settings(max_examples=150, deadline=None)
def test_the_future_changes_nothing(drawn, share):
    """Cut the data: every trade that was over before the cut, and equity until then, stay as they were."""
    whole = result_of(drawn)
    cut = int(whole.market.bars * share)
    part = result_of(drawn, cut)
    kept = whole.trades[whole.trades[:, k.T_EXIT_BAR] < cut - 1]
    again = part.trades[part.trades[:, k.T_EXIT_BAR] < cut - 1]
    if whole.plan.intraday is not None and not whole.counters[k.C_RUIN]:
        kept = kept[kept[:, k.T_REASON] != k.SQUARE_OFF]
        again = again[again[:, k.T_REASON] != k.SQUARE_OFF]
    assert np.array_equal(kept, again)
    assert np.array_equal(whole.equity[: cut - 1], part.equity[: cut - 1])


@given(backtests())
@settings(max_examples=60, deadline=None)
def test_a_rerun_is_the_same_text(drawn):
    assert result_of(drawn).as_json() == result_of(drawn).as_json()


@given(backtests())
@settings(max_examples=150, deadline=None)
def test_never_more_positions_than_slots_nor_more_money_than_there_is(drawn):
    result = result_of(drawn)
    taken = np.zeros(result.market.bars + 1, np.int64)
    for row in result.trades:
        if row[k.T_EXIT_BAR] > row[k.T_ENTRY_BAR]:
            taken[row[k.T_ENTRY_BAR] : row[k.T_EXIT_BAR]] += 1
    assert taken.max(initial=0) <= result.plan.account.slots


@given(st.integers(0, 5_000), st.integers(3, 200))
@settings(max_examples=80, deadline=None)
def test_buy_and_hold_is_the_arithmetic_of_the_index(seed, bars):
    rows = wandering(seed, bars)
    market = together(rows, timeframe=1440)
    found = figures(
        trades=np.zeros((0, k.TRADE_COLUMNS), np.int64), equity=np.full(bars, 10_000, np.int64), starts=market.starts,
        day_ends=market.day_ends, close=market.prices[3], first_known=1, cash=10_000,
    )  # fmt: skip
    assert (
        found["buy_and_hold_pct"] == round(100 * (rows[-1, 3] / rows[1, 3] - 1), 10)
        or abs(found["buy_and_hold_pct"] - 100 * (rows[-1, 3] / rows[1, 3] - 1)) < 1e-9
    )
    assert found["max_drawdown_pct"] == 0.0 and found["sharpe"] is None and found["win_rate_pct"] is None
