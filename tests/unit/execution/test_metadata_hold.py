"""A signal whose tick and lot are too old waits, has the masters read again, and goes on when they are known."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from execution.models import Group, QueuedSignal
from strategies.models import Signal
from tests.unit.execution.test_ladders import alert, decided
from trading.celery import app
from trading.marketdata.models import Feed, Instrument
from trading.monitoring.models import JobSlot

pytestmark = pytest.mark.django_db
BELL = "execution.refresh_instruments"


@pytest.fixture
def real_market(desk):
    """The desk's prices are those of an exchange, so a master may be too old."""
    Feed.objects.filter(name=desk.world.feed.name).update(kind=Feed.Kind.EXCHANGE)
    known(desk, days_ago=0)


def known(desk, *, days_ago: int) -> None:
    day = (desk.now[0] - timedelta(days=days_ago)).date()
    Instrument.objects.filter(pk=desk.instrument.pk).update(master_date=day)
    desk.instrument.refresh_from_db()


@pytest.fixture
def bells(valkey, django_capture_on_commit_callbacks):
    """Bells of the masters that were rung by what was done inside."""

    class Bells:
        def __enter__(self):
            self.inner = django_capture_on_commit_callbacks(execute=True)
            self.inner.__enter__()
            return self

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            with app.connection_for_read() as line:
                queue = line.SimpleQueue(settings.CELERY_TASK_ROUTES.get(BELL, {}).get("queue", "work"))
                self.rung = 0
                with suppress(queue.Empty):
                    while True:
                        message = queue.get(block=False)
                        message.ack()
                        self.rung += message.headers["task"] == BELL
                        self.ids = json.loads(message.body)[1]

    return Bells()


def test_it_waits_and_the_masters_are_asked_for_once(desk, real_market, bells):
    known(desk, days_ago=5)
    with bells:
        signal = decided(desk, alert(desk))
        again = decided(desk, alert(desk))
        desk.turn()
    assert bells.rung == 1 and bells.ids == {"forced": True, "actor": "a signal that waits"}
    signal.refresh_from_db()
    assert (signal.state, again.state) == ("REFUSED", "QUEUED"), "the newer one has its place"
    assert QueuedSignal.objects.get(signal=again).cause == "METADATA_STALE" and not Group.objects.exists()
    JobSlot.objects.update(last_slot=0)  # ten minutes later nobody has answered
    with bells:
        desk.turn()
    assert bells.rung == 1


def test_it_goes_on_when_they_are_known(desk, real_market):
    known(desk, days_ago=5)
    signal = decided(desk, alert(desk))
    known(desk, days_ago=0)
    desk.turn()
    signal.refresh_from_db()
    assert signal.state == Signal.State.ACCEPTED and Group.objects.get(signal=signal).pyramids.count() == 1


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("METADATA_STALE", "Tick and lot of its instrument did not become known"), ("POOL_FULL", "No slot came free"),
        ("NOT_FLAT", "did not end while it could wait"), ("ENGINE_NOT_READY", "The engine did not get ready"),
    ],
)  # fmt: skip
def test_a_wait_in_vain_says_what_it_was_for(desk, real_market, cause, said):
    known(desk, days_ago=5)
    signal = decided(desk, alert(desk))
    QueuedSignal.objects.update(expires_at=timezone.now() - timedelta(seconds=1), cause=cause)
    desk.turn()
    signal.refresh_from_db()
    assert (signal.state, signal.refusal_code) == ("EXPIRED", "QUEUE_EXPIRED") and said in signal.refusal


def test_the_sandbox_is_never_too_old(desk):
    known(desk, days_ago=400)
    assert decided(desk, alert(desk)).state == Signal.State.ACCEPTED
