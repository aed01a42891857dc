"""A periodic job runs once a period, whoever rings for it and however often."""

import time

from django.utils import timezone

from trading.monitoring.models import JobSlot


def take_slot(name: str, *, every_s: float) -> bool:
    """True for the first caller in a period of wall time; False for all others."""
    slot = int(time.time() // every_s)
    JobSlot.objects.get_or_create(name=name)
    return bool(JobSlot.objects.filter(name=name, last_slot__lt=slot).update(last_slot=slot, taken_at=timezone.now()))
