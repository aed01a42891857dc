"""What a contract asks for at a bar's close, with real rows: its exit rule, its trailing stop, its time."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from execution.models import Group
from execution.services.bar_exit import bar_exit
from execution.services.signal_accept import signal_accept
from execution.services.time_exit import bars_held, time_exit
from strategies.contracts.publish import publish_contract
from strategies.contracts.schema import load_library, parse_contract
from strategies.models import Signal
from strategies.scanner.scan_bar import cache
from tests.factories import DeploymentFactory, InstrumentFactory, SignalFactory
from tests.factories.market import stored_candles
from tests.factories.world import quote
from tests.small_desk import small_desk
from trading.domain.clock import IST
from trading.marketdata.watermark import set_candles_through

pytestmark = pytest.mark.django_db

EMA = load_library()["ema_alignment"]


@pytest.fixture
def desk(valkey, db):
    cache.clear()
    return small_desk()


def contract(desk, **changes):
    body = EMA.as_mapping() | {
        "timeframe": "1m", "sides": ["long"], "parameters": {}, "max_bars": None, "regime": "any",
        "rules": {"long_entry": "close > open"}, "stop": {"kind": "percent", "value": 1},
    } | changes  # fmt: skip
    return publish_contract(owner=desk.world.user, slug="mine", body=body, actor="me")


def open_trade(desk, **changes) -> Group:
    """A long trade at about 812 that belongs to a contract."""
    group = desk.enter()
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=contract(desk, **changes))
    signal = SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target=None, features={"atr": 2.0}, state=Signal.State.ACCEPTED,
    )  # fmt: skip
    Group.objects.filter(pk=group.pk).update(signal=signal)
    group.refresh_from_db()
    return group


def minutes(desk, *closes: float, after: int = 1) -> datetime:
    """One-minute candles from the minute of the entry on; the venue's time when the last of them is over."""
    start = desk.now[0].replace(second=0, microsecond=0) + timedelta(minutes=after - 1)
    starts = [start + timedelta(minutes=place) for place in range(len(closes))]
    past = [start - timedelta(minutes=place) for place in range(60, 0, -1)] if after == 1 else []
    rows = [(812, 812.5, 811.5, 812)] * len(past) + [(close, close + 0.5, close - 0.5, close) for close in closes]
    stored_candles(desk.world.feed, desk.instrument, past + starts, rows)
    end = starts[-1] + timedelta(minutes=1)
    set_candles_through(desk.world.feed.name, end)
    return end


def test_an_exit_rule_ends_the_trade_at_the_bar_where_it_is_true_and_once(desk):
    group = open_trade(desk, rules={"long_entry": "close > open", "long_exit": "close < 810"})
    now = minutes(desk, 812, 811)
    assert bar_exit(account_id=desk.account.pk, now=now) == 0
    group.refresh_from_db()
    assert group.judged_through == now and group.close_reason == ""
    now = minutes(desk, 809, after=3)
    assert bar_exit(account_id=desk.account.pk, now=now) == 1
    assert bar_exit(account_id=desk.account.pk, now=now) == 0
    group.refresh_from_db()
    assert (group.close_reason, group.close_asked_by) == ("RULE", "EMA 9/21 with RSI filter v1")


def test_a_bar_whose_candle_is_not_there_yet_is_judged_when_it_is(desk):
    group = open_trade(desk, rules={"long_entry": "close > open", "long_exit": "close < 810"})
    now = minutes(desk, 812)
    set_candles_through(desk.world.feed.name, now + timedelta(minutes=1))
    assert bar_exit(account_id=desk.account.pk, now=now + timedelta(minutes=1)) == 0
    group.refresh_from_db()
    assert group.judged_through is None
    now = minutes(desk, 809, after=2)
    assert bar_exit(account_id=desk.account.pk, now=now) == 1


def test_a_trailing_stop_follows_the_bars_and_ends_the_trade_on_a_tick(desk):
    group = open_trade(desk, trailing={"kind": "atr", "distance": 2, "after": 0.25, "period": 14})
    now = minutes(desk, 813, 816)
    bar_exit(account_id=desk.account.pk, now=now)
    group.refresh_from_db()
    assert group.trail_price == Decimal("812.50")  # the highest was 816.50, two ranges of two rupees below it
    now = minutes(desk, 814, after=3)
    bar_exit(account_id=desk.account.pk, now=now)
    group.refresh_from_db()
    assert group.trail_price == Decimal("812.50"), "it never goes back"
    desk.engine.watch_groups()
    desk.engine.market.hear(desk.ticks("813.00"))
    group.refresh_from_db()
    assert group.close_reason == ""
    desk.engine.market.hear(desk.ticks("812.50"))
    desk.turn(1)
    group.refresh_from_db()
    assert group.close_reason == "TRAILING"


def test_a_contract_without_such_exits_is_left_alone(desk):
    group = open_trade(desk)
    now = minutes(desk, 790)
    assert bar_exit(account_id=desk.account.pk, now=now) == 0
    group.refresh_from_db()
    assert group.judged_through is None and group.trail_price is None


def test_a_trade_ends_at_its_time_of_day(desk):
    group = open_trade(desk, exit_at="11:30")
    assert time_exit(account_id=desk.account.pk, now=desk.now[0] + timedelta(minutes=29)) == 0
    assert time_exit(account_id=desk.account.pk, now=desk.now[0] + timedelta(minutes=30)) == 1
    group.refresh_from_db()
    assert group.close_reason == "TIME"


def test_bars_are_counted_over_nights_and_holidays_as_the_exchange_trades_them(desk):
    body = parse_contract(EMA.as_mapping() | {"timeframe": "15m"})
    friday = datetime(2026, 2, 13, 15, 0, tzinfo=IST)
    monday = datetime(2026, 2, 16, 9, 46, tzinfo=IST)
    share = InstrumentFactory(symbol="NSE:ITC-EQ")
    assert bars_held(body, desk.world.feed, share, since=friday, now=monday) == 4
    body = parse_contract(EMA.as_mapping() | {"timeframe": "15m", "max_bars": 3})
    assert bars_held(body, desk.world.feed, share, since=friday, now=monday + timedelta(days=30)) >= 3


def test_a_contract_may_allow_fewer_positions_and_trades_than_the_desk(desk):
    version = contract(desk, risk={"max_positions": 1, "max_trades_per_day": 1})
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=version)

    def ask(symbol: str) -> Signal:
        instrument = InstrumentFactory(symbol=symbol)
        desk.world.still_running()
        quote(desk.world.feed, instrument)
        signal = SignalFactory(
            portfolio=desk.portfolio, deployment=deployment, instrument=instrument, entry="812.35", stop="804.00",
            target=None, bar_at=desk.now[0],
        )  # fmt: skip
        return signal_accept(signal_id=signal.pk, now=desk.now[0])

    first = ask("NSE:ITC-EQ")
    assert first.state == Signal.State.ACCEPTED, first.refusal
    assert ask("NSE:TCS-EQ").refusal_code == "CONTRACT_POSITIONS"
    Group.objects.update(state=Group.State.CLOSED)
    assert ask("NSE:LT-EQ").refusal_code == "CONTRACT_TRADES"
