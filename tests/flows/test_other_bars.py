"""A backtest is given the bars of other timeframes and instruments that its contract looks at, as the scanner is."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.request import BacktestRequest, HouseLimits, prepare
from strategies.contracts.publish import publish_contract
from strategies.contracts.schema import load_library
from strategies.rules.compiled import RuleSet
from strategies.rules.evaluate import Evaluation
from strategies.scanner.scan_bar import other_bars, rule_window
from tests.factories import InstrumentFactory, UserFactory
from tests.factories.market import FeedFactory, UniverseFactory, stored_candles
from tests.factories.world import house_policy
from trading.domain.clock import IST
from trading.marketdata.models import UniverseMember
from trading.marketdata.windows import load_window

pytestmark = pytest.mark.django_db

INDEX = "NSE:NIFTY50-INDEX"
DAYS = [datetime(2026, 2, day, 9, 15, tzinfo=IST) for day in (9, 10, 11, 12, 13)]
ENTRY = f'crosses_above(close, on("15m", ema(close, 5))) and of("{INDEX}", close > sma(close, 9)) and close > 0'


@pytest.fixture
def desk(db):
    house_policy()
    owner, feed = UserFactory(), FeedFactory(name="NSE", kind="EXCHANGE")
    universe = UniverseFactory(name="nifty50")
    share = InstrumentFactory(symbol="NSE:SBIN-EQ", has_derivatives=False)
    index = InstrumentFactory(symbol=INDEX, instrument_type="INDEX")
    UniverseMember.objects.create(universe=universe, instrument=share, from_date=date(2020, 1, 1))
    rng = np.random.default_rng(5)
    for instrument, begins in ((share, 800.0), (index, 25_000.0)):
        closes = (begins * np.exp(np.cumsum(rng.normal(0, 0.0008, 375 * len(DAYS))))).round(2)
        starts = [day + timedelta(minutes=place) for day in DAYS for place in range(375)]
        stored_candles(feed, instrument, starts, [(c, c + 0.5, c - 0.5, c) for c in closes.tolist()])
    body = load_library()["ema_alignment"].as_mapping() | {
        "sides": ["long"], "parameters": {}, "rules": {"long_entry": ENTRY},
    }  # fmt: skip
    publish_contract(owner=owner, slug="two-clocks", body=body, actor="me")
    return owner, feed, share


def prepared(owner, **changes):
    request = BacktestRequest(contract="two-clocks", from_date=date(2026, 2, 10), to_date=date(2026, 2, 13), **changes)
    return prepare(request, HouseLimits.of_policy(house_policy()), owner_id=owner.pk)


def test_a_backtest_and_the_scanner_see_the_same_other_bars(desk):
    owner, feed, share = desk
    asked = prepared(owner)
    plan = asked.plan()
    market = asked.market(settling=plan.settling)
    assert set(market.window.others) == {(15, ""), (5, INDEX)}
    assert len(run(plan, market).trades) > 0
    rule = plan.long_entry
    whole = Evaluation(market.window).truth(rule.node)
    fired = np.flatnonzero(whole[0])[-3:]
    for at in (*fired, whole.shape[1] - 1):
        until = datetime.fromtimestamp(int(market.window.ends[at]), UTC)
        prices = load_window(feed, [share], 5, bars=120, until=until)
        others = other_bars(RuleSet.of(rule), feed=feed, instruments=[share], base=5, until=until)
        live = Evaluation(rule_window(prices, others)).truth(rule.node)
        assert live[0, -1] == whole[0, at]


def test_the_hash_of_the_data_knows_the_index_too(desk):
    owner, *_ = desk
    market = prepared(owner).market(settling=20)
    alone = replace(market, window=replace(market.window, others={}))
    assert market.data_hash != alone.data_hash
    assert market.data_hash == prepared(owner).market(settling=20).data_hash


def test_an_index_without_candles_is_named(desk):
    owner, *_ = desk
    InstrumentFactory(symbol="NSE:NIFTYBANK-INDEX", instrument_type="INDEX")
    body = load_library()["ema_alignment"].as_mapping() | {
        "sides": ["long"], "parameters": {}, "rules": {"long_entry": ENTRY.replace(INDEX, "NSE:NIFTYBANK-INDEX")},
    }  # fmt: skip
    publish_contract(owner=owner, slug="two-clocks", body=body, actor="me")
    with pytest.raises(BacktestRefused, match="NSE:NIFTYBANK-INDEX"):
        prepared(owner).market(settling=20)
