"""A broker that took the order and says something else, over HTTP: it is looked up by its tag, and there is one."""

from collections.abc import Iterator

import pytest

from execution.models import Group, Order
from execution.services.override import close_position
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from tests.flows.test_order_path import flat_and_settled
from trading.domain.orders import Side

CLOSED = Group.State.CLOSED
LIES = {
    "fault_14_no_answer": {"kind": "drop_reply"},
    "fault_16_400_timed_out": {"kind": "timeout_400"},
    "fault_17_html": {"kind": "html", "acted": True},
    "fault_17_cut_short": {"kind": "cut_short"},
    "fault_36_500": {"kind": "server_error", "status": 500, "acted": True},
    "fault_36_503": {"kind": "server_error", "status": 503, "acted": True},
    "fault_20_the_number_of_another": {"kind": "other_id"},
}


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url) as found:
        yield found


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_entry_a_stop_and_a_way_out_that_are_lied_about_are_each_there_once(desk, lie):
    desk.control.faults(**{"count": 3, "on": "place", **lie})  # of the entry, of its stop, of the way out
    intent = desk.ask(stop_price=desk.near("-4"))
    group = Group.objects.get(pk=intent.group_id)
    desk.act(1)
    desk.tick_until(lambda: Order.objects.get(intent=intent).state == OrderState.FILLED)
    desk.tick_until(lambda: desk.working() == 50)
    desk.agrees()
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == CLOSED)
    assert sum(desk.control.faults_done()["done"].values()) == 3, "each of them was lied about"
    there = desk.gateway.orders()
    assert len({one.client_order_id for one in there}) == len(there) == 3
    assert {one.broker_order_id for one in there} == set(Order.objects.values_list("broker_order_id", flat=True))
    assert [one.filled_quantity for one in there if one.side is Side.BUY] == [50]
    flat_and_settled(desk)
