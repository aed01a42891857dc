"""Every contract that comes with the desk: it reads, it says when it loses, and its rules run."""

import re
from decimal import Decimal

import numpy as np
import pytest

from strategies.backtest.engine import run
from strategies.backtest.market import Market
from strategies.backtest.plan import Account, Costs, plan_of_contract
from strategies.contracts.live import lacks_of
from strategies.contracts.schema import load_library, parse_contract
from strategies.rules.evaluate import Evaluation
from strategies.rules.window import longer, window_of
from trading.domain.orders import Side

LIBRARY = load_library()
INDEX = "NSE:NIFTY50-INDEX"
TICK = Decimal("0.05")
OPEN_S = 1_704_080_700  # Monday 2024-01-01, 09:15 in India


def noisy_market(timeframe: int, days: int = 40, seed: int = 7):
    """Five shares and an index in one-minute steps of a restless market, with gaps, surges of volume and a trend."""
    rng = np.random.default_rng(seed)
    bars = 375 // timeframe if timeframe < 1440 else 1
    days = days if timeframe < 1440 else 700
    place = np.arange(days * bars)
    # Weekdays alone, from a Monday on.
    day = place // bars
    starts = OPEN_S + (day // 5 * 7 + day % 5) * 86_400 + place % bars * timeframe * 60
    step = rng.standard_t(3, (6, place.size)) * 0.25 * np.sqrt(timeframe / 5 if timeframe < 1440 else 20)
    step += 0.5 * step[-1] + np.sin(place / 40) * 0.12  # shares move with the index, and everything in waves
    step[:, place % bars == 0] *= 6
    close = 500 * np.exp(np.cumsum(step, axis=1) / 100)
    open_ = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    open_[:, place % bars == 0] = close[:, place % bars == 0]
    reach = np.abs(rng.normal(size=close.shape)) * close * 0.0015
    high, low = np.maximum(open_, close) + reach, np.minimum(open_, close) - reach[:, ::-1]
    volume = rng.lognormal(9, 0.9, close.shape) * (1 + 3 * (np.abs(step) > 0.8))
    shape = {"starts": starts, "timeframe": timeframe}

    def window(rows, names, others=None):
        return window_of(
            symbols=names, open_=open_[rows], high=high[rows], low=low[rows], close=close[rows], volume=volume[rows],
            others=others, **shape,
        )  # fmt: skip

    index = window([5], (INDEX,))
    others = {(timeframe, INDEX): index}
    shares = window([0, 1, 2, 3, 4], tuple(f"NSE:S{n}-EQ" for n in range(5)), others)
    if timeframe < 15:
        others[15, ""] = longer(shares, 15)
    return shares


def test_the_library_has_the_contracts_it_should():
    assert sorted(LIBRARY) == [
        "dual_mode_adaptive", "ema_alignment", "index_alignment", "index_reversion", "momentum_surfer",
        "opening_range_momentum", "overnight_gap", "range_expansion", "reversal", "volume_anomaly", "volume_scalper",
        "vwap_reversion",
    ]  # fmt: skip


@pytest.mark.parametrize("slug", LIBRARY)
def test_a_shipped_contract_reads_back_and_says_when_it_loses(slug):
    body = LIBRARY[slug]
    assert parse_contract(body.as_mapping()) == body
    assert len(body.description) > 200 and len(body.when_it_loses) > 200
    assert not re.search(r"guarantee|always wins|risk.free", body.description + body.when_it_loses, re.IGNORECASE)
    assert body.parameters and all(spec.min < spec.max for _, spec in body.parameters)


@pytest.mark.parametrize("slug", LIBRARY)
def test_a_shipped_contract_fires_on_a_restless_market_and_not_all_the_time(slug):
    body = LIBRARY[slug]
    window = noisy_market(body.timeframe_minutes)
    evaluation = Evaluation(window)
    rules = body.compiled()
    for path, rule in rules.items():
        values = rule.evaluate(evaluation)
        assert values.shape == window.shape, path
        if rule.kind == "number":
            assert np.isfinite(values).mean() > 0.5, path
    for side in body.sides:
        fired = body.entry_rule(side).evaluate(evaluation)
        assert 0 < fired.mean() < 0.05, side


@pytest.mark.parametrize("slug", LIBRARY)
def test_a_shipped_contract_is_tested_from_entry_to_exit(slug):
    """Every way out it has is one that the backtester knows: trades open and close, and none is left out."""
    body = LIBRARY[slug]
    window = noisy_market(body.timeframe_minutes)
    market = Market(window=window, timeframe=body.timeframe_minutes, ticks=(TICK,) * 5, lots=(1,) * 5, warm_up=60)
    plan = plan_of_contract(body, name=slug, account=Account(slots=3), costs=Costs())
    assert (plan.short_entry is not None) == (Side.SELL in body.sides)
    result = run(plan, market)
    again = run(plan, market)
    assert len(result.trades) > 0
    assert result.cash > 0 and (result.trades == again.trades).all()


def test_what_live_trading_cannot_do_is_said_of_a_contract():
    assert lacks_of(LIBRARY["ema_alignment"]) == []
    assert lacks_of(LIBRARY["momentum_surfer"]) == []
    options = LIBRARY["ema_alignment"].as_mapping() | {"family": "options"}
    assert [lack.code for lack in lacks_of(parse_contract(options))] == ["OPTIONS_NOT_LIVE"]
    halved = LIBRARY["volume_anomaly"].as_mapping() | {"partials": [{"share_pct": 50, "kind": "percent", "value": 1}]}
    assert [lack.code for lack in lacks_of(parse_contract(halved))] == []


def test_all_of_them_can_be_put_to_work():
    assert [slug for slug, body in LIBRARY.items() if lacks_of(body)] == []
