"""The rows of an hour ago, and a broker that went on: what the desk had sent since is taken over and not sent again."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from execution.brokers.port import OrderRequest
from execution.identity import client_order_id
from execution.models import Group, Mismatch, Order, ReconRun
from execution.services.mismatch_decide import mismatch_decide
from execution.services.override import close_position
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SYMBOL, SteppedDesk, stepped_desk
from trading.domain.orders import OrderType, Product, Side
from trading.monitoring.models import Alert


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url) as found:
        yield found


class Backup:
    """All rows as they are now."""

    def __init__(self) -> None:
        self.tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
        self._do("DROP SCHEMA IF EXISTS backup CASCADE", "CREATE SCHEMA backup",
                 *(f'CREATE TABLE backup."{one}" AS TABLE public."{one}"' for one in self.tables))  # fmt: skip

    def restore(self) -> None:
        names = ", ".join(f'public."{one}"' for one in self.tables)
        self._do("SET LOCAL session_replication_role = replica", f"TRUNCATE {names}",
                 *(f'INSERT INTO public."{one}" OVERRIDING SYSTEM VALUE SELECT * FROM backup."{one}"'
                   for one in self.tables), "DROP SCHEMA backup CASCADE")  # fmt: skip

    def _do(self, *statements: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            for one in statements:
                cursor.execute(one)


def restored(desk: SteppedDesk, backup: Backup) -> None:
    """Its engine begins as an engine does: it sends nothing that it finds queued before it has read the books."""
    backup.restore()
    venue = desk.venue
    desk.start_again()
    desk.venue, venue.engine = venue, desk.engine  # its lines to the broker are the old ones
    desk.engine.sends_from = timezone.now()
    desk.ready()
    desk.engine.sweep()
    desk.engine.reconcile(ReconRun.Cause.STARTUP)
    desk.engine.sends_from = None
    desk.act(4)


def test_fault_61_an_order_that_a_restored_backup_calls_queued_is_taken_over_with_its_fills(desk):
    intent = desk.ask(stop_price=desk.near("-4"))
    backup = Backup()
    desk.tick_until(lambda: Order.objects.get(intent=intent).state == OrderState.FILLED)
    assert desk.broker_net() == 50
    before = {one.broker_order_id for one in desk.gateway.orders() if one.side is Side.BUY}
    restored(desk, backup)
    order = Order.objects.get(intent=intent)
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, 50)
    assert {one.broker_order_id for one in desk.gateway.orders() if one.side is Side.BUY} == before
    assert desk.held() == 50 == desk.broker_net()
    # The stop of the hour that was lost has a tag that no row knows: it is told of, and left to whoever placed it.
    assert Alert.objects.filter(code="UNKNOWN_TAG", level="SEVERE").exists()


def settled(desk: SteppedDesk) -> None:
    """Time enough for every second look."""
    for _ in range(2):
        Mismatch.objects.filter(state="SEEN").update(first_seen_at=timezone.now() - timedelta(minutes=1))
        desk.engine.reconcile(ReconRun.Cause.PERIODIC)
        desk.tick(3)


def closed_since_the_backup(desk: SteppedDesk) -> Group:
    group = desk.enter(stop_price=desk.near("-4"))
    backup = Backup()
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    assert desk.broker_net() == 0
    restored(desk, backup)
    return group


def sales(desk: SteppedDesk) -> set[str]:
    return {one.broker_order_id for one in desk.gateway.orders() if one.side is Side.SELL}


def stopped_since_the_backup(desk: SteppedDesk) -> Group:
    """The backup has the entry alone; its stop is at the broker, with a tag that no row knows."""
    intent = desk.ask(stop_price=desk.near("-4"))
    backup = Backup()
    desk.tick_until(lambda: desk.working() == 50)
    restored(desk, backup)
    return Group.objects.get(intents=intent)


def test_of_a_trade_that_was_closed_since_the_backup_nothing_is_sold_until_a_person_decides(desk):
    group = closed_since_the_backup(desk)
    assert desk.working() == 0, "no stop waits for what the broker does not hold"
    before = sales(desk)
    settled(desk)
    assert desk.working() == 0
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    settled(desk)
    assert sales(desk) == before
    assert desk.broker_net() == 0
    assert Alert.objects.filter(code="EXIT_CAPPED").exists()

    row = Mismatch.objects.get(kind="POSITION")
    assert (row.state, row.ours, row.theirs) == ("OPEN", 50, 0)
    mismatch_decide(mismatch_id=row.pk, decision="closed_outside", price=Decimal("820"), actor="me", now=desk.now)
    for one in Mismatch.objects.filter(kind="UNKNOWN_TAG", state="OPEN"):
        mismatch_decide(mismatch_id=one.pk, decision="accept", actor="me", now=desk.now)
    settled(desk)
    assert Group.objects.get(pk=group.pk).state == Group.State.CLOSED
    assert not Mismatch.objects.filter(state__in=["SEEN", "OPEN"]).exclude(kind="FUNDS").exists()
    assert sales(desk) == before
    assert desk.broker_net() == 0


def test_beside_a_stop_that_no_row_knows_there_is_no_second_one_and_no_sale(desk):
    group = stopped_since_the_backup(desk)
    desk.tick(3)
    settled(desk)
    assert desk.held() == 50 == desk.broker_net()
    assert desk.working() == 50, "the old stop alone"
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    settled(desk)
    assert (desk.broker_net(), desk.working()) == (50, 50)

    old = next(one for one in desk.gateway.orders() if one.side is Side.SELL and not one.status.is_final)
    desk.gateway.cancel(old.broker_order_id)  # in the broker's app
    desk.tick(2)
    settled(desk)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    assert desk.broker_net() == 0


def test_a_person_who_says_that_the_old_stop_is_theirs_has_the_trade_protected_by_the_desk(desk):
    stopped_since_the_backup(desk)
    settled(desk)
    assert desk.working() == 50
    row = Mismatch.objects.get(kind="UNKNOWN_TAG")
    mismatch_decide(mismatch_id=row.pk, decision="accept", actor="me", now=desk.now)
    settled(desk)
    assert desk.working() == 100
    assert not Mismatch.objects.filter(kind="UNKNOWN_TAG", state__in=["SEEN", "OPEN"]).exists()


def lost(desk: SteppedDesk, side: Side, quantity: int) -> None:
    """An order of the desk's that traded, and whose row the backup does not have."""
    tag = client_order_id(account_id=desk.account.pk, intent_id=uuid4(), live=desk.account.is_live)
    desk.gateway.place(OrderRequest(tag, SYMBOL, side, quantity, OrderType.MARKET, Product.INTRADAY))
    desk.tick(2)


def test_a_trade_that_is_still_held_keeps_its_stop_beside_one_that_came_and_went_since_the_backup(desk):
    group = desk.enter(stop_price=desk.near("-4"))
    lost(desk, Side.BUY, 50)
    lost(desk, Side.SELL, 50)
    settled(desk)
    assert Mismatch.objects.filter(kind="UNKNOWN_TAG", state="OPEN").count() == 2
    desk.tick_until(lambda: desk.working() == 50)
    assert desk.held() == 50 == desk.broker_net()
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    assert (desk.broker_net(), desk.working()) == (0, 0)


def test_a_stop_that_was_made_smaller_for_a_part_that_no_row_knows_does_not_grow_again(desk):
    group = desk.enter(stop_price=desk.near("-4"))
    desk.tick_until(lambda: desk.working() == 50)
    stop = Order.objects.get(group=group, reason="STOP")
    lost(desk, Side.SELL, 20)
    desk.engine.reconcile(ReconRun.Cause.PERIODIC)
    desk.gateway.modify(
        stop.broker_order_id, order_type=OrderType.STOP_LIMIT, quantity=30, limit_price=stop.limit_price,
        trigger_price=stop.trigger_price,
    )  # fmt: skip
    settled(desk)
    stop.refresh_from_db()
    assert (desk.broker_net(), desk.working(), stop.quantity) == (30, 30, 30)
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    settled(desk)
    assert (desk.broker_net(), desk.working()) == (0, 0)
