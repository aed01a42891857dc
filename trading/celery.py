"""Celery: workers are rung by name, beat follows the trading day as `trading/schedule.py` tells it."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trading.settings.dev")

app = Celery("tarazu")
app.set_default()  # also for threads that send before they ever saw this module
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_djangos_logging(**_: Any) -> None:
    """Celery would replace the handlers, and with them the redaction; Django's set-up has already run."""


def load_schedule(**_: Any) -> None:
    """The timetable is read by beat alone: no other process has a use for it."""
    from trading.schedule import BEAT_SCHEDULE

    app.conf.beat_schedule = BEAT_SCHEDULE


beat_init.connect(load_schedule)
