"""What was said about orders is a chain: whoever changes it afterwards, even past the triggers, is found."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import IntegrityError

from execution.models import EventSeal, Order, OrderEvent
from execution.services import events_seal as seals
from execution.services.events import note
from tests.factories import OrderFactory
from trading.audit.models import AuditEntry
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = timedelta(0)


@pytest.fixture
def told(valkey):
    """Two orders about which five things were said, sealed in two stretches."""
    first, second = OrderFactory(), OrderFactory()
    for order in (first, second, first):
        with connection.cursor() as cursor:  # a number that was given to a transaction that was rolled back
            cursor.execute("SELECT nextval(pg_get_serial_sequence('execution_orderevent', 'id'))")
        note(order, "order.seen", source="BOOK", status="PENDING", message="₹ 812.35, “taken”")
    assert seals.events_seal(settled_after=AT_ONCE) == 3
    for order in (second, first):
        note(order, "order.illegal", source="SOCKET", applied=False)
    assert seals.events_seal(settled_after=AT_ONCE) == 2
    return first


def tamper(statement: str, *parameters: object) -> None:
    """As the owner of the database could: the triggers are off while it is done."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE execution_orderevent DISABLE TRIGGER order_event_append_only")
        cursor.execute(statement, parameters)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE execution_orderevent ENABLE TRIGGER order_event_append_only")


def test_an_untouched_chain_is_walked_to_its_end_and_sealing_again_finds_nothing(told):
    assert seals.events_verify() is None
    assert seals.events_seal(settled_after=AT_ONCE) == 0
    assert [seal.events for seal in EventSeal.objects.order_by("id")] == [3, 2]


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE execution_orderevent SET detail = \'{"status": "FILLED"}\' WHERE id = %s',
        "UPDATE execution_orderevent SET at = at + interval '1 microsecond' WHERE id = %s",
        "UPDATE execution_orderevent SET applied = NOT applied WHERE id = %s",
        "DELETE FROM execution_orderevent WHERE id = %s",
        """INSERT INTO execution_orderevent
           (id, order_id, seq, kind, source, from_state, to_state, applied, detail, at)
           SELECT id - 1, order_id, 99, kind, source, from_state, to_state, applied, detail, at
           FROM execution_orderevent WHERE id = %s""",
    ],
)
def test_one_row_altered_removed_or_slipped_in_is_found_and_told(told, statement):
    third = OrderEvent.objects.order_by("pk")[2]
    tamper(statement, third.pk)
    broken = seals.events_verify()
    assert broken is not None and broken.after_event < third.pk <= broken.through_event
    assert Alert.objects.filter(code="EVENTS_ALTERED", acknowledged_at=None).count() == 1


def test_an_event_whose_transaction_is_still_open_holds_back_all_that_came_after_it(told):
    """Numbers are given before they are committed: a stretch ends before whatever may still appear inside it."""
    with transaction.atomic():
        note(Order.objects.lock(told.pk), "order.seen", source="BOOK")
        assert seals._seal_next(AT_ONCE) == 0
    assert seals.events_seal(settled_after=AT_ONCE) == 1


def test_a_seal_cannot_be_edited(told):
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        EventSeal.objects.update(digest="0" * 64)


def test_the_command_prints_the_digest_and_the_audit_trail_keeps_it(told, capsys):
    call_command("eventchain")
    newest = EventSeal.objects.first()
    assert newest.digest in capsys.readouterr().out
    assert AuditEntry.objects.get(action="events.verified").subject == newest.digest
    tamper("DELETE FROM execution_orderevent WHERE id = %s", OrderEvent.objects.order_by("pk").first().pk)
    with pytest.raises(CommandError, match="not what was sealed"):
        call_command("eventchain")
    assert AuditEntry.objects.filter(action="events.altered").count() == 1
