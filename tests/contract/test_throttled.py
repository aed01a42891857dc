"""Fault 35: a broker that says "too many". One is enough; nothing is asked a second time until its pause is over."""

import pytest

from execution.brokers.errors import NotSent, RateLimited
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.guard import BrokerGuard
from execution.brokers.port import Acknowledged, CallClass, Refused
from risk.models import Breaker
from tests.contract.samples import CREDENTIALS, request
from tests.contract.small_server import SmallServer, answer, in_turn, serving
from tests.factories.people import BrokerAccountFactory
from trading.domain.orders import Side

pytestmark = pytest.mark.django_db
TOO_MANY = answer(
    '{"s":"error","code":-429,"message":"request limit reached"}', status=429, headers="retry-after: 60\r\n"
)
TAKEN = answer('{"s":"ok","code":1101,"message":"","id":"25112000000018"}')


def gateway_at(server: SmallServer) -> FyersGateway:
    return FyersGateway(
        endpoints=Endpoints.of(server.url), credentials=CREDENTIALS, guard=BrokerGuard(BrokerAccountFactory().pk)
    )


def test_fault_35_after_one_429_of_a_read_no_second_one_leaves():
    with serving(TOO_MANY) as server:
        gateway = gateway_at(server)
        with pytest.raises(RateLimited):
            gateway.orders()
        for read in (gateway.orders, gateway.trades, gateway.positions, gateway.funds, gateway.holdings):
            with pytest.raises(NotSent) as kept:
                read()
            assert kept.value.code == "BREAKER_OPEN"
        gateway.close()
    assert len(server.requests) == 1
    breaker = Breaker.objects.get(call_class="READ")
    assert breaker.state == "OPEN" and (breaker.retry_at - breaker.opened_at).total_seconds() >= 60


def test_fault_35_after_one_429_of_an_order_entries_stay_here_and_an_exit_has_a_budget_of_its_own():
    with serving(in_turn(TOO_MANY, TAKEN)) as server:
        gateway = gateway_at(server)
        first = gateway.place(request())
        assert isinstance(first, Refused) and first.code == "RATE_LIMITED"
        for _ in range(5):
            kept = gateway.place(request())
            assert isinstance(kept, Refused) and kept.code == "BREAKER_OPEN"
        assert len(server.requests) == 1
        exits = [gateway.place(request(side=Side.SELL), klass=CallClass.EXIT) for _ in range(3)]
        gateway.close()
    assert isinstance(exits[0], Acknowledged) and len(server.requests) == 2
    assert [one.code for one in exits[1:]] == ["BREAKER_OPEN"] * 2, "one every two seconds while it is open"
