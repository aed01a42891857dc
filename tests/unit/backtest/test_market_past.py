"""What the backtester's gates know of a market's past, bar by bar what the desk's gates say of the same bars."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from risk.assess import run_gates
from risk.gates.finding import Limits, Outcome, Snapshot
from risk.gates.market_quality import liquidity, opening_gap, price_collar
from risk.market_facts import correlation, usual_bars
from strategies.backtest import gating as g
from strategies.backtest import kernels as k
from strategies.backtest.engine import run, terms_of
from strategies.backtest.loop import NO_PAST
from strategies.backtest.market import DAY_S, CorporateAction, day_open_s
from strategies.backtest.market_past import past_of
from strategies.backtest.plan import Costs, HouseGates, Sizing, SizingMode
from strategies.rules.window import longer
from tests.unit.backtest.markets import NICKEL, intraday, plan
from trading.domain.orders import OrderIntent, Product, Reason, Side
from trading.venue.sessions import session_on

GATES = HouseGates(
    opening_gap_pct=Decimal("0.02"), spread_to_deviation=Decimal("0.05"), min_volume_ratio=Decimal("0.5"),
    correlation_halve=Decimal("0.7"), correlation_reject=Decimal("0.9"), price_collar_pct=Decimal(3),
    option_collar_pct=Decimal(10),
)  # fmt: skip
LIMITS = Limits(
    name="test", opening_gap_pct=Decimal("0.02"), spread_to_deviation=Decimal("0.05"), min_volume_ratio=Decimal("0.5"),
    price_collar_pct=Decimal(3), option_collar_pct=Decimal(10),
)  # fmt: skip
TICKS = 2  # of the spread that is assumed
NOTHING = Snapshot(
    now=datetime(2022, 1, 3, tzinfo=UTC), equity_paise=0, cash_paise=0, day_pnl_paise=0, opening_equity_paise=0,
    exposure_paise=0, symbol_exposure_paise=0, symbol_net_quantity=0, symbol_reserved=False, slots_taken=0,
    trades_today=0, last_price=None, quote_age_s=None, session_open=True, entries_from=None, entries_until=None,
    last_stop_out_at=None, soft_locked=False, hard_locked=False, kill_level=0, kill_reason="", auth_state="",
    engine_ready=True, engine_cause="",
)  # fmt: skip


def asked(side=Side.BUY, price=Decimal(100), **more):
    return OrderIntent(
        instrument_id=1, symbol="NSE:S0-EQ", side=side, quantity=1, price=price, product=Product.INTRADAY,
        reason=Reason.ENTRY, lot_size=1, tick_size=NICKEL, signal_age_s=0.0, **more,
    )  # fmt: skip


def restless(minutes: int, seed: int):
    """A market of two symbols with holes, calm and wild hours and volumes, in bars of so many minutes."""
    base = intraday(75 * 4, symbols=2, seed=seed)
    draw = np.random.default_rng(seed)
    holes = draw.random(base.window.close.shape) < 0.06
    window = base.window
    rows = {
        name: np.where(holes, np.nan, getattr(window, name)) for name in ("open", "high", "low", "close")
    }  # fmt: skip
    volume = np.where(holes, np.nan, np.floor(draw.lognormal(6, 0.8, holes.shape)))
    base = replace(base, window=replace(window, **rows, volume=volume), warm_up=50)
    if minutes == 5:
        return base
    days, day = np.unique((window.starts + 19_800) // DAY_S)[:2], np.arange(150)
    starts = (days[:, None] * DAY_S + day_open_s(date(1970, 1, 1)) + day * 60).ravel()
    return replace(base, window=replace(
        base.window, starts=starts, timeframe=1, ends=starts + 60, session_index=np.repeat(days, day.size),
        minutes_since_open=np.tile(day * 1.0, days.size), minutes_to_close=np.tile(374.0 - day, days.size),
    ), timeframe=1)  # fmt: skip


@pytest.mark.parametrize("minutes", [1, 5])
def test_spread_and_volume_are_judged_at_every_bar_as_the_desk_judges_them(minutes):
    market = restless(minutes, seed=11)
    test = plan("close > open", gates=GATES, costs=Costs(spread_ticks=TICKS))
    seen = past_of(test, market).seen
    five = market.window if minutes == 5 else longer(market.window, 5, market.kind)
    found = set()
    for bar in range(0, market.bars, 3):
        end = int(market.window.ends[market.warm_up + bar])
        now = datetime.fromtimestamp(end, UTC)
        session = session_on(now.date(), kind=market.kind, assume_weekdays=True)
        over = int(np.searchsorted(five.ends, end, side="right"))
        upto = slice(max(0, over - 40), over)
        for row in range(2):
            deviation, volume, mean = usual_bars(
                five.close[row, upto], five.volume[row, upto], five.starts[upto], int(session.opens_at.timestamp())
            )
            snapshot = replace(
                NOTHING, now=now, session_opens_at=session.opens_at, session_closes_at=session.closes_at,
                spread=TICKS * NICKEL, close_deviation=deviation, bar_volume=volume, mean_volume=mean,
            )  # fmt: skip
            (verdict,) = run_gates(asked(), snapshot, LIMITS, (liquidity,))
            said = verdict.gate if verdict.outcome is Outcome.REJECT else ""
            bits = int(seen[row, bar])
            ours = "LIQUIDITY_SPREAD" if bits & k.WIDE else "LIQUIDITY_VOLUME" if bits & k.THIN else ""
            assert ours == said, (row, bar, now, deviation, volume, mean)
            found.add(said)
    assert found == {"", "LIQUIDITY_SPREAD", "LIQUIDITY_VOLUME"}


def test_an_opening_gap_forbids_its_day_and_a_split_is_none():
    market = restless(5, seed=23)
    split = replace(market, actions=(CorporateAction("NSE:S0-EQ", datetime(2022, 1, 5).date(), after=2),))
    half = split.window.session_index >= (datetime(2022, 1, 5) - datetime(1970, 1, 1)).days
    rows = {name: np.where(half & [[True], [False]], getattr(split.window, name) / 2, getattr(split.window, name))
            for name in ("open", "high", "low", "close")}  # fmt: skip
    split = replace(split, window=replace(split.window, **rows))
    test = plan("close > open", gates=replace(GATES, spread_to_deviation=None, min_volume_ratio=None))
    for one in (market, split):
        gapped = past_of(test, one).seen & k.GAPPED
        days, closes = one.daily_closes
        for first, end in zip(np.append(0, one.day_ends[:-1] + 1), one.day_ends, strict=True):
            day = int(np.searchsorted(days, one.day_ordinals[end]))
            for row in range(2):
                opened, before = one.prices[0][row, first], closes[row, day - 1] if day else np.nan
                if one is split and row == 0 and one.day_ordinals[end] < datetime(2022, 1, 5).toordinal():
                    before *= 2  # in the shares of that day
                gap = None
                if np.isfinite(opened) and np.isfinite(before):
                    before = Decimal(str(round(before, 4)))
                    gap = (Decimal(str(opened)) - before) * 100 / before
                snapshot = replace(NOTHING, opening_gap_pct=gap)
                (verdict,) = run_gates(asked(), snapshot, LIMITS, (opening_gap,))
                assert set(gapped[row, first : end + 1] > 0) == {verdict.outcome is Outcome.REJECT}, (first, row, gap)


def test_the_collar_of_a_limit_is_that_of_the_desk():
    terms = terms_of(plan("close > open", gates=GATES))
    for last in (Decimal(20), Decimal("812.35")):
        for ticks in range(-700, 700, 7):
            price = last + ticks * NICKEL
            for option in (False, True):
                snapshot = replace(NOTHING, last_price=last)
                (verdict,) = run_gates(asked(price=price, is_option=option), snapshot, LIMITS, (price_collar,))
                near = g.in_collar(terms, int(price * 10_000), int(last * 10_000), option)
                assert near == (verdict.outcome is Outcome.PASS), (price, last, option)


def test_returns_go_together_as_the_desk_measures_them_and_too_few_say_nothing():
    draw = np.random.default_rng(3)
    closes = np.cumprod(1 + draw.normal(0, 0.02, (2, 130)), axis=1) * 100
    closes[1] = 0.7 * closes[0] + 30 + np.cumsum(draw.normal(0, 0.2, 130))
    closes[0, [3, 50, 51, 90]] = np.nan
    for days in range(131):
        live = correlation(*closes[:, max(0, days - 61) : days]) if days > 1 else None
        ours = g.alike(closes, 0, 1, days)
        assert (ours == -2.0) if live is None else ours == pytest.approx(live, abs=1e-12), days
    still = np.full((2, 80), 100.0)
    assert g.alike(still, 0, 1, 80) == -2.0 and correlation(*still) is None


def test_two_of_a_kind_are_one_bet_and_the_result_says_who_refused():
    """Of symbols that move alike the second is refused, of strangers it is not."""
    days = 75 * 30
    base = intraday(days, symbols=2, seed=4)
    alike = np.stack((base.window.close[0], base.window.close[0] * 2))
    strangers = base.window.close
    made = {}
    for name, close in (("alike", alike), ("strangers", strangers)):
        open_ = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
        window = replace(
            base.window, close=close, open=open_, high=np.maximum(open_, close), low=np.minimum(open_, close)
        )
        market = replace(base, window=window, warm_up=75 * 25)
        test = plan(
            "close > open", gates=HouseGates(correlation_reject=Decimal("0.9")), max_bars=30,
            sizing=Sizing(SizingMode.FIXED, Decimal(5)), cash="1000000",
        )  # fmt: skip
        test = replace(test, account=replace(test.account, slots=2))
        made[name] = run(test, market)
    assert made["alike"].refusals["CORRELATION"] == made["alike"].signals["refused_by_gates"] > 0
    assert made["strangers"].refusals == {} and made["strangers"].trades.shape[0] > made["alike"].trades.shape[0]
    assert made["alike"].as_mapping()["refusals"] == made["alike"].refusals


def test_a_plan_without_gates_asks_nothing_of_the_past():
    assert past_of(plan("close > open"), intraday(150, symbols=2)) is NO_PAST
