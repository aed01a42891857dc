"""The rows of an hour ago, and a broker that went on: what the desk had sent since is taken over and not sent again."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from execution.models import Order, ReconRun
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from trading.domain.orders import Side
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
