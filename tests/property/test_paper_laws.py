"""Laws of the paper broker, whatever is asked of it and whatever prices do; and the wall between paper and money."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.kite import credentials as kite_credentials
from execution.brokers.kite.endpoints import Endpoints as KiteEndpoints
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.port import Acknowledged, BrokerStatus, Refused
from execution.identity import client_order_id
from tests.contract.small_server import answer, serving
from tests.unit.execution.test_paper import SBIN, Paper
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.venue.fill_model import Friction, Stretch, outcome_of

TICK = Decimal("0.05")
prices = st.integers(14_000, 18_000).map(lambda ticks: ticks * TICK)
kinds = st.sampled_from(OrderType)


@given(
    side=st.sampled_from(Side), kind=kinds, limit=prices, trigger=prices,
    drawn=st.lists(prices, min_size=3, max_size=3),
    opens=st.booleans(), triggered=st.booleans(), bps=st.integers(0, 500),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_fill_is_luckier_than_the_stretch_and_none_is_beyond_its_limit(
    side, kind, limit, trigger, drawn, opens, triggered, bps
):
    low, first, high = sorted(drawn)
    met = outcome_of(
        side=side, order_type=kind, limit=limit, trigger=trigger, triggered=triggered,
        stretch=Stretch(first, high, low, opens), tick=TICK, friction=Friction(Decimal(bps)),
    )  # fmt: skip
    stops = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    assert met.triggered or not triggered
    if met.price is None:
        assert kind is not OrderType.MARKET
        assert kind is not OrderType.STOP or not (triggered or low <= trigger <= high)
        return
    assert met.price % TICK == 0
    best = low if side is Side.BUY else high
    assert (met.price - best) * side.sign >= 0, "never better than the best of it"
    if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        assert (met.price - limit) * side.sign <= 0
    if stops and not triggered:
        assert (met.price - trigger) * side.sign >= 0, "a stop is no better than its trigger"


@given(side=st.sampled_from(Side), limit=prices, last=prices, shown=prices)
@settings(max_examples=200, deadline=None)
def test_an_order_that_comes_trades_with_who_is_shown_and_not_with_who_has_gone(side, limit, last, shown):
    bid, ask = (None, shown) if side is Side.BUY else (shown, None)
    met = outcome_of(
        side=side, order_type=OrderType.LIMIT, limit=limit, trigger=None, triggered=False,
        stretch=Stretch(last, last, last, True, bid, ask), tick=TICK, friction=Friction(),
    )  # fmt: skip
    assert met.price == (shown if (limit - shown) * side.sign >= 0 else None)


acts = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(Side), kinds, st.integers(1, 40), prices),
        st.tuples(st.just("tick"), prices, st.integers(0, 500)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("change"), st.integers(0, 9), st.integers(1, 40)),
        st.tuples(st.just("wait"), st.integers(1, 600)),
        st.tuples(st.just("other process")),
    ),
    min_size=3, max_size=12,
)  # fmt: skip


class Books(TestCase):
    """Any sequence of acts leaves books that agree with each other."""

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts, st.sampled_from([None, Decimal(10)]))
    def test_the_books_agree_after_every_act(self, script, share):
        paper = Paper(volume_share_pct=share)
        numbers, volume = [], 0
        for act, *given_ in script:
            if act == "place":
                side, kind, quantity, price = given_
                limit = price if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
                trigger = price if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None
                result = paper.gateway.place(
                    paper.ask(side, quantity, order_type=kind, limit_price=limit, trigger_price=trigger)
                )
                self.assertIsInstance(result, Acknowledged | Refused)
                numbers += [result.broker_order_id] if isinstance(result, Acknowledged) else []
            elif act == "tick":
                volume += given_[1]
                paper.tick(str(given_[0]), volume=volume)
            elif act == "cancel" and numbers:
                paper.gateway.cancel(numbers[given_[0] % len(numbers)])
            elif act == "change" and numbers:
                number, quantity = numbers[given_[0] % len(numbers)], given_[1]
                paper.gateway.modify(number, order_type=paper.order(number).order_type, quantity=quantity)
            elif act == "wait":
                paper.tape.now += timedelta(seconds=given_[0])
            elif act == "other process":
                paper.gateway = paper.again()
            self.agree(paper)

    def agree(self, paper: Paper) -> None:
        orders, trades, positions = paper.gateway.orders(), paper.gateway.trades(), paper.gateway.positions()
        self.assertEqual(len({one.broker_order_id for one in orders}), len(orders))
        self.assertEqual(len({one.broker_trade_id for one in trades}), len(trades))
        for order in orders:
            own = [one for one in trades if one.broker_order_id == order.broker_order_id]
            self.assertEqual(sum(one.quantity for one in own), order.filled_quantity)
            self.assertLessEqual(order.filled_quantity, order.quantity)
            self.assertEqual(order.status is BrokerStatus.FILLED, order.filled_quantity == order.quantity)
        net = sum(one.side.sign * one.quantity for one in trades)
        self.assertEqual(sum(one.net_quantity for one in positions), net)
        funds = paper.gateway.funds()
        paid = sum(one.side.sign * one.quantity * one.price for one in trades)
        held = sum(one.net_quantity * one.average_price for one in positions)
        self.assertLessEqual(abs(funds.total - (1_000_000 - paid + held)), Decimal("0.05"), "to the paisa of averages")
        self.assertEqual(funds.total - funds.utilised, funds.available)


live_or_not = st.sampled_from(["fyers", "kite"])


def a_gateway(kind: str, url: str, *, live: bool):
    """An adapter at a server that only listens; `live` as the broker's own hosts are."""
    if kind == "fyers":
        endpoints = Endpoints.of(url)
        here = replace(endpoints, control=None) if live else endpoints
        return FyersGateway(endpoints=here, credentials=Credentials("APP-100", "t.t.t"))
    kite = KiteEndpoints.of(url)
    return KiteGateway(
        endpoints=replace(kite, control=None) if live else kite, credentials=kite_credentials.Credentials("app", "t")
    )


@given(kind=live_or_not, live=st.booleans(), account=st.integers(1, 10**6), intent=st.uuids(), child=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_no_adapter_sends_an_order_of_the_other_environment(kind, live, account, intent, child):
    """The tags that the desk makes: of a paper account they never reach a live transport, of a live one no sandbox."""
    tag = client_order_id(account_id=account, intent_id=intent, live=not live, child=child)
    with serving(answer('{"s":"ok","id":"1"}')) as server:
        gateway = a_gateway(kind, server.url, live=live)
        result = gateway.place(OrderRequest(tag, SBIN, Side.BUY, 1, OrderType.MARKET, Product.INTRADAY))
        gateway.close()
        assert isinstance(result, Refused) and result.code == "OTHER_ENVIRONMENT"
        assert server.requests == []


class Wall(TestCase):
    """Whatever is asked of a paper account, what its price source hears is a question about the market."""

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts.map(lambda script: script[:5]))
    def test_no_act_on_paper_reaches_the_price_source_as_an_order(self, script):
        paper = Paper()
        tape = paper.tape  # it raises where it is asked for more than prices
        for act, *given_ in script:
            if act == "place":
                side, kind, quantity, price = given_
                paper.gateway.place(paper.ask(side, quantity, order_type=kind, limit_price=price, trigger_price=price))
            elif act == "tick":
                paper.tick(str(given_[0]))
            elif act == "wait":
                tape.now += timedelta(hours=given_[0] // 60)
        for one in paper.gateway.orders()[:2]:
            paper.gateway.modify(one.broker_order_id, order_type=OrderType.MARKET)
            paper.gateway.cancel(one.broker_order_id)
        paper.gateway.trades(), paper.gateway.positions(), paper.gateway.funds()
        paper.gateway.holdings(), paper.gateway.triggers()
