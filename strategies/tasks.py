"""Bells that beat and the engine ring for this floor."""

from celery import shared_task

from strategies.scanner.run import scan_due


@shared_task(name="strategies.scan_due", ignore_result=True)
def scan_due_task(**_from_newer_callers: object) -> None:
    scan_due()
