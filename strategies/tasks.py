"""Bells that beat and the engine ring for this floor."""

import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.utils import timezone

from strategies.runs.tidy import tidy_runs
from strategies.runs.warm import warm_research
from strategies.runs.work import let_go, work
from strategies.scanner.run import scan_due
from strategies.scanner.warm import warm_scanner
from trading.monitoring.slots import take_slot


@shared_task(name="strategies.scan_due", ignore_result=True)
def scan_due_task(**_from_newer_callers: object) -> None:
    scan_due()


@shared_task(name="research.work", ignore_result=True)
def research_work_task(**_from_newer_callers: object) -> None:
    """Something waits, or may: take it if nobody has."""
    work()


@shared_task(name="research.tidy", ignore_result=True)
def research_tidy_task(**_from_newer_callers: object) -> None:
    if take_slot("research_tidy", every_s=3600):
        tidy_runs(wall=timezone.now())


@worker_ready.connect
def warm_up(sender: Any = None, **_: object) -> None:
    """Compiling takes seconds on a new machine: begin at once, beside the first bells."""
    queues = set(sender.app.amqp.queues.consume_from) if sender is not None else set()
    if "scans" in queues:
        threading.Thread(target=warm_scanner, daemon=True, name="warm scanner").start()
    if "research" in queues:
        threading.Thread(target=warm_research, daemon=True, name="warm research").start()


@worker_shutting_down.connect
def give_back(**_: object) -> None:
    """What is at work goes back to the queue at its next step, for whoever comes next."""
    let_go()
