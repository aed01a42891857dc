"""Deliveries are kept for as long as the operator says; what they became, the signals, stays."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from prometheus_client import Counter

from execution.models import Delivery, Hook

FORGOTTEN = Counter("tarazu_hook_deliveries_forgotten_total", "Deliveries of hooks that were kept long enough")
AT_ONCE = 1_000


def forget_deliveries(*, wall: datetime) -> int:
    """Delete what came in longer ago than `TARAZU_HOOK_DAYS`; how many that were. Safe to repeat and to cut short.

    One that was replayed since stays with its replay. A key is held for a day, the setting is two at least.
    """
    before = wall - timedelta(days=settings.HOOK_DELIVERY_DAYS)
    gone = 0
    for hook_id in Hook.objects.values_list("pk", flat=True):
        while some := _forget_some(hook_id, before):
            gone += some
    FORGOTTEN.inc(gone)
    return gone


@transaction.atomic
def _forget_some(hook_id: UUID, before: datetime) -> int:
    old = Delivery.objects.filter(hook=hook_id, received_at__lt=before)
    wanted = old.exclude(replays__received_at__gte=before).order_by("received_at")
    ids = list(wanted.values_list("pk", flat=True)[:AT_ONCE])
    old.filter(replay_of__in=ids).update(replay_of=None)
    return Delivery.objects.filter(pk__in=ids).delete()[1].get("execution.Delivery", 0)
