"""A contract books parts of its position with real orders, while the stop at the broker covers the rest."""

from decimal import Decimal

import pytest

from execution.models import Group, Order, PartExit
from execution.services.group_advance import group_advance
from tests.factories.world import quote
from tests.prove.trial import grow_older
from tests.unit.execution.test_bar_exits import desk, open_trade  # noqa: F401 - a fixture
from trading.domain.orders import Reason

HALF_AND_A_FIFTH = [
    {"share_pct": 50, "kind": "r_multiple", "value": 1}, {"share_pct": 20, "kind": "atr", "value": 10, "period": 14},
]  # fmt: skip


@pytest.fixture
def trade(desk) -> Group:  # noqa: F811
    group = open_trade(desk, partials=HALF_AND_A_FIFTH)
    group_advance(group_id=group.pk, now=desk.now[0])
    return group


def step(desk, price: str) -> None:  # noqa: F811
    desk.instrument_price(price)
    desk.engine.watch_groups()
    desk.engine.hear_ticks(desk.ticks(price))
    for _ in range(4):
        quote(desk.world.feed, desk.instrument, price)
        desk.engine.sweep()
        desk.engine.read_books()
        assert desk.working() <= desk.held()


def test_each_level_closes_its_share_once(desk, trade):  # noqa: F811
    first, second = PartExit.objects.filter(group=trade).order_by("key")
    assert (first.quantity, first.trigger_price) == (5, Decimal("820.7000")), "R is what the stop risks"
    assert (second.quantity, second.trigger_price) == (2, Decimal("832.3500"))
    assert desk.stop_of(trade).remaining_quantity == 10
    step(desk, "820.70")
    sold = Order.objects.get(intent__part=first)
    assert (sold.quantity, sold.reason, sold.limit_price) == (5, Reason.TARGET, Decimal("820.7000"))
    assert desk.stop_of(trade).remaining_quantity == 5
    desk.broker.fill(sold.broker_order_id, 5, "820.70")
    desk.turn(3)
    step(desk, "820.90")
    assert Order.objects.filter(intent__part=first).count() == 1 and desk.held() == 5
    step(desk, "833.00")
    desk.broker.fill(Order.objects.get(intent__part=second).broker_order_id, 2, "832.40")
    desk.turn(3)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("DONE", "DONE")
    assert desk.held() == 3 and desk.stop_of(trade).remaining_quantity == 3
    assert Group.objects.get(pk=trade.pk).state == Group.State.ACTIVE, "the rest goes on"


def test_a_part_that_does_not_trade_waits_for_its_price_again(desk, trade):  # noqa: F811
    step(desk, "820.70")
    part = PartExit.objects.get(group=trade, key="book:0")
    assert part.state == "ASKED"
    grow_older(desk.account.pk, 60)
    step(desk, "815.00")
    part.refresh_from_db()
    assert part.state == "WAITING" and desk.stop_of(trade).remaining_quantity == 10
    step(desk, "821.00")
    assert Order.objects.filter(intent__part=part).count() == 2
