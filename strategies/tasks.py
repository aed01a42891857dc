"""Bells that beat and the engine ring for this floor."""

import threading

from celery import shared_task
from celery.signals import worker_ready

from strategies.scanner.run import scan_due
from strategies.scanner.warm import warm_scanner


@shared_task(name="strategies.scan_due", ignore_result=True)
def scan_due_task(**_from_newer_callers: object) -> None:
    scan_due()


@worker_ready.connect
def warm_up(**_: object) -> None:
    """Compiling takes seconds on a new machine: begin at once, beside the first bells."""
    threading.Thread(target=warm_scanner, daemon=True, name="warm scanner").start()
