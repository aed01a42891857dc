"""What once let a loss through: numbers that are none, names in another spelling, bets in another dress, prices that
are old, days that begin with nothing. Each is a way to lose money that is shut."""

import json
import time
from datetime import date, datetime, timedelta
from datetime import time as dt_time
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from django.utils import timezone

from execution.models import Intent
from execution.services.intent_create import intent_create
from execution.services.intent_judge import Wish
from execution.services.signal_accept import signal_accept
from risk.loss_locks import latch_losses
from risk.market_facts import market_facts
from risk.models import DrawdownState, LossLock
from risk.policies import active_policy, draft_policy, limits_of, publish_policy, values_from_json
from risk.snapshot import standing_of
from tests.factories import ClosedTradeFactory, DeploymentFactory, InstrumentFactory, SignalFactory
from tests.factories.strategies import house_version
from tests.factories.world import ELEVEN, house_policy, open_feed, quote
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.marketdata.builder import Bar
from trading.marketdata.candles import store_bars
from trading.marketdata.models import CorporateAction
from trading.marketdata.quotes import Quote
from trading.portfolio.valuation import Holding
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["max_quote_age_s", "max_signal_age_s", "duplicate_window_s"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_age_that_is_no_number_is_no_limit(name, value):
    house_policy()
    values = values_from_json(json.dumps({"limits": {name: value}}))
    with pytest.raises(NotAllowed, match=name):
        draft_policy(portfolio=None, values=values)


def test_a_name_is_forbidden_however_it_is_written():
    house_policy()
    values = values_from_json('{"limits": {"restricted_symbols": [" sbin ", "nse:itc-eq"]}}')
    assert limits_of(draft_policy(portfolio=None, values=values)).restricted_symbols == {"SBIN", "NSE:ITC-EQ"}


def stands(desk, instrument=None):
    return standing_of(desk.portfolio, instrument or desk.instrument, now=desk.now[0])


def closed(desk, *, minutes_ago: float, net: int, reason: str = "RULE", **more):
    return ClosedTradeFactory(
        portfolio=desk.portfolio, instrument=desk.instrument, gross_paise=net, charges_paise=0, exit_reason=reason,
        closed_at=desk.now[0] - timedelta(minutes=minutes_ago), **more,
    )  # fmt: skip


@pytest.mark.parametrize(("reason", "rests"), [("STOP", True), ("TRAILING", True), ("TARGET", False)])
def test_an_instrument_rests_after_a_stop_that_was_drawn_closer_too(desk, reason, rests):
    trade = closed(desk, minutes_ago=5, net=-100, reason=reason)
    assert stands(desk).last_stop_out_at == (trade.closed_at if rests else None)


def test_a_row_of_losses_is_of_today_as_long_as_it_is_and_nothing_gained_does_not_end_it(desk):
    assert (stands(desk).losses_in_row, stands(desk).last_loss_at) == (0, None)
    closed(desk, minutes_ago=60 * 20, net=-100)  # yesterday
    closed(desk, minutes_ago=90, net=+100)
    for ago in range(30):
        closed(desk, minutes_ago=60 - ago, net=-100)
    closed(desk, minutes_ago=1, net=0)
    found = stands(desk)
    assert found.losses_in_row == 30 and found.last_loss_at == desk.now[0] - timedelta(minutes=31)
    closed(desk, minutes_ago=0.5, net=+1)
    assert stands(desk).losses_in_row == 0


def test_a_day_that_began_with_nothing_is_locked_by_its_first_loss(desk):
    value = SimpleNamespace(opening_equity_paise=0, day_pnl_paise=-1)
    latched = latch_losses(
        portfolio=desk.portfolio, value=value, policy=active_policy(desk.portfolio.pk), now=desk.now[0]
    )
    assert {lock.kind for lock in latched} == {"WARN", "HALF", "SOFT", "HARD"}


def price(desk, last: str, *, age_s: float, indicative: bool = False) -> None:
    desk.engine.market.take_quotes([Quote(
        desk.instrument.symbol, Decimal(last), None, None, None, 1, desk.now[0], time.time() - age_s,
        indicative=indicative,
    )])  # fmt: skip


def test_a_share_that_trades_no_more_locks_the_day_at_its_last_price(desk):
    """Locked at its band it has no price of the last seconds, and that is when it loses most."""
    desk.enter()
    publish_policy(portfolio=desk.portfolio, values={"daily_loss_soft_pct": "0.1"}, actor="me")
    desk.engine.value(desk.portfolio)
    assert not LossLock.objects.exists(), "no price at all tells nothing"
    price(desk, "650.00", age_s=0, indicative=True)
    desk.engine.value(desk.portfolio)
    assert not LossLock.objects.exists(), "nothing was traded at a price of the auction before the open"
    price(desk, "650.00", age_s=90)
    desk.engine.value(desk.portfolio)
    assert LossLock.objects.filter(kind="SOFT").exists() and DrawdownState.objects.get().equity_paise > 0


def test_what_is_sold_for_delivery_must_be_held(desk):
    sale = {"side": Side.SELL, "stop_price": Decimal("820.00"), "product": Product.CNC}
    assert desk.ask(**sale).refusal_code == "SHORT_DELIVERY"
    assert desk.ask(**sale | {"product": Product.INTRADAY}).state == Intent.State.APPROVED


def test_a_stop_that_the_market_has_passed_is_no_stop(desk):
    """The limit crosses the spread: it would trade at the market, below its own stop, and be stopped out at once."""
    asked = desk.ask(limit_price=Decimal("820.00"), stop_price=Decimal("815.00"))
    assert asked.refusal_code == "STOP_REQUIRED" and "at 812.35" in asked.refusal


# -- one bet in another dress


def contract(index, kind: str, strike: int):
    return InstrumentFactory(
        symbol=f"NSE:SBIN26FEB{strike}{kind}", instrument_type="OPTSTK", segment="FO", option_type=kind, strike=strike,
        underlying=index, underlying_name="SBIN", expiry=date(2026, 2, 24), lot_size=750, sector="",
    )  # fmt: skip


def test_options_are_bets_on_what_they_are_options_on(valkey):
    feed = open_feed(at=ELEVEN)
    share = InstrumentFactory(symbol="NSE:SBIN-EQ", sector="Banks")
    call, other, put = contract(share, "CE", 800), contract(share, "CE", 820), contract(share, "PE", 780)

    def alike(asked, sign, held, units):
        facts = market_facts(
            feed.name, asked, sign=sign, held=[Holding(held.pk, held.symbol, units, 0)], now=ELEVEN, previous_close=None
        )
        return [rho for _, rho in facts.correlations]

    assert alike(call, 1, share, 100) == alike(call, 1, other, 750) == alike(put, 1, share, -100) == [1.0]
    assert alike(put, 1, share, 100) == alike(put, 1, call, 750) == alike(call, -1, share, 100) == [-1.0]
    assert alike(put, -1, call, 750) == [1.0] and alike(call, 1, call, 750) == []
    assert call.own_sector == put.own_sector == "Banks" and InstrumentFactory(sector="").own_sector == ""


def moved_alike(feed, one, two, *, split_after: int | None = None) -> list[date]:
    """Daily candles of two months in which both do the same; the second may split."""
    days = [day for back in range(60, 0, -1) if session_on(day := ELEVEN.date() - timedelta(days=back)) is not None]
    closes = np.cumprod(1 + np.random.default_rng(1).normal(0, 0.01, len(days))) * 500
    halved = np.where(np.arange(len(days)) < (split_after or len(days)), 1.0, 0.5)
    for instrument, times in ((one, np.ones(len(days))), (two, halved)):
        prices = [Decimal(str(round(close, 2))) for close in closes * times]
        store_bars(feed, 1440, [
            Bar(instrument.symbol, datetime.combine(day, dt_time(9, 15), tzinfo=IST), price, price, price, price, 10)
            for day, price in zip(days, prices, strict=True)
        ], "HISTORY")  # fmt: skip
    return days


def test_two_ideas_of_one_bar_are_one_bet_before_either_has_filled(desk):
    other = InstrumentFactory(symbol="NSE:TWIN-EQ", sector="Twins")
    moved_alike(desk.world.feed, desk.instrument, other)
    quote(desk.world.feed, other)
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    ideas = [
        SignalFactory(
            portfolio=desk.portfolio, deployment=deployment, instrument=one, entry="812.35", stop="804.00",
            target="829.00", expires_at=timezone.now() + timedelta(minutes=5),
        )
        for one in (desk.instrument, other)
    ]  # fmt: skip
    for one in ideas:
        quote(desk.world.feed, other)
        desk.world.still_running()
        signal_accept(signal_id=one.pk, now=desk.now[0])
        one.refresh_from_db()
    assert [one.state for one in ideas] == ["ACCEPTED", "REFUSED"], [one.refusal for one in ideas]
    assert ideas[1].refusal_code == "CORRELATION"


def test_a_split_does_not_make_strangers_of_two_of_a_kind(valkey):
    feed = open_feed(at=ELEVEN)
    one, two = InstrumentFactory(), InstrumentFactory()
    days = moved_alike(feed, one, two, split_after=20)
    CorporateAction.objects.create(
        instrument=two, ex_date=days[20], kind="SPLIT_OR_BONUS", factor=Decimal("0.5"), state="CONFIRMED",
        source="circular", found_at=ELEVEN,
    )  # fmt: skip
    held = [Holding(two.pk, two.symbol, 10, 0)]
    (pair,) = market_facts(feed.name, one, sign=1, held=held, now=ELEVEN, previous_close=None).correlations
    assert pair[1] > 0.99


def test_a_trade_that_is_added_to_never_risks_more_than_the_cap(desk):
    """Each wish alone is within what one trade may lose; what is held and what still works counts beside it."""
    publish_policy(
        portfolio=desk.portfolio, actor="me",
        values={"risk_per_trade_pct": "0.1", "risk_mean_reversion_pct": "0.1", "risk_cap_pct": "0.1"},
    )  # fmt: skip
    group = desk.enter(quantity=100)
    equity = stands(desk).equity_paise
    budget = equity // 1000

    def add(quantity: int, number: int) -> Intent:
        desk.world.still_running()
        return intent_create(
            portfolio=desk.portfolio, now=desk.now[0],
            wish=Wish(
                source=Intent.Source.SYSTEM, reason=Reason.ENTRY, dedupe_key=f"add:{number}", actor="me",
                instrument=desk.instrument, side=Side.BUY, quantity=quantity, order_type=OrderType.LIMIT,
                product=Product.INTRADAY, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"), group=group,
                adds=True,
            ),
        )  # fmt: skip

    held = group.orders.get(reason="ENTRY")
    risk_held = held.fill_value_paise + 81_235 * held.remaining_quantity - 80_400 * 100
    allowed = add(110, 1)
    assert allowed.state == Intent.State.APPROVED, allowed.refusal
    assert allowed.allowed_quantity == (budget - risk_held) // 835 == 19
    refused = add(100, 2)
    assert refused.refusal_code == "POSITION_RISK", refused.refusal
