"""The engine as it runs, before it has got ready: ways out that were queued when the sign-in was lost are held, told of
and, once somebody has signed in, sent once."""

import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import seal
from execution.brokers.registry import set_auth_state
from execution.engine.lease import give_up
from execution.engine.runner import AccountRunner
from execution.models import EngineLease, Group, Intent, Order
from execution.services.override import close_position
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from tests.unit.execution.test_claims_lost import wait_until
from trading.monitoring.alerts import clear_alerts
from trading.monitoring.models import Alert

OTHERS = "NSE:INFY-EQ"
WAIT = {"code": "EXITS_WAIT_FOR_LOGIN", "acknowledged_at": None}


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url, symbols=["NSE:SBIN-EQ", OTHERS]) as found:
        yield found


def let_in(desk: SteppedDesk, secret: str) -> None:
    """What the broker says to who comes with this secret: with another than its own, that it knows nobody."""
    sealed = seal(secret, owner_id=desk.account.owner_id, purpose="app_secret")
    BrokerAccount.objects.filter(pk=desk.account.pk).update(app_secret_sealed=sealed)


def lease() -> EngineLease:
    return EngineLease.objects.get()


def test_fault_33_an_engine_that_cannot_sign_in_holds_ways_out_tells_of_them_and_sends_them_once_it_can(desk):
    group = desk.enter()
    last = int(desk.engine.market.quotes()[OTHERS].last_price)
    entry = desk.ask(symbol=OTHERS, quantity=5, stop_price=Decimal(last * 97 // 100))
    assert entry.state == Intent.State.APPROVED, entry.refusal
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    desk.engine.advance_groups()
    desk.engine.send_changes()  # the stop is cancelled, the way out is not made yet
    desk.engine.read_books()
    set_auth_state(desk.account, BrokerAccount.AuthState.EXPIRED, "your token has expired")
    desk.engine.advance_groups()
    way_out = group.orders.get(reason="MANUAL")
    waiting = Order.objects.get(intent=entry)
    assert (way_out.state, waiting.state) == (OrderState.QUEUED, OrderState.QUEUED)
    there = len(desk.gateway.orders())
    clear_alerts("EXITS_WAIT_FOR_LOGIN", owner_id=desk.account.owner_id, about=str(desk.account.pk))

    give_up(desk.account.pk, desk.fence)
    let_in(desk, "somebody-elses-secret")
    BrokerAccount.objects.filter(pk=desk.account.pk).update(access_token_sealed=None)
    told = threading.Event()
    runner = AccountRunner(BrokerAccount.objects.get(pk=desk.account.pk), stop=told)
    engine = threading.Thread(target=runner.run)
    engine.start()
    try:
        wait_until(lambda: Alert.objects.filter(**WAIT).exists())
        assert lease().state == EngineLease.State.PREFLIGHT
        Order.objects.filter(pk=waiting.pk).update(valid_until=timezone.now())
        wait_until(lambda: Order.objects.get(pk=waiting.pk).state == OrderState.WITHDRAWN)
        way_out.refresh_from_db()
        assert way_out.state == OrderState.QUEUED and len(desk.gateway.orders()) == there, "nothing left"
        assert lease().state == EngineLease.State.PREFLIGHT

        let_in(desk, SECRET)
        wait_until(lambda: Order.objects.get(pk=way_out.pk).broker_order_id)
        assert not Alert.objects.filter(**WAIT).exists()
        desk.control.step(ticks=2)
        wait_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    finally:
        told.set()
        engine.join(60)
        connection.close()
    assert not engine.is_alive()
    sales = [one for one in desk.gateway.orders() if one.side == "SELL" and one.filled_quantity]
    assert [one.client_order_id for one in sales] == [way_out.client_order_id], "once"
    desk.agrees()
    assert desk.held() == 0
