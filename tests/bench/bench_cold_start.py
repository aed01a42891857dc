"""How long a process that scans needs until its first answer: imports, kernels out of the cache, nothing compiled."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from tests.bench.harness import Figure, Run, bench

SCANS = """
from trading.domain.heap import hold_collector, release_collector
hold_collector()
import django
django.setup()
{tasks}
from strategies.rules.compiled import compile_rule
from strategies.scanner.scan_bar import rule_window
from strategies.scanner.warm import _made_up
from trading.marketdata.packing.aligned import warm_blocks
warm_blocks()
rule = compile_rule("crosses_above(ema(close, 9), ema(close, 21)) and rsi(close, 14) > 50")
rule.evaluate(rule_window(_made_up(300, 1)))
release_collector()
import time
print(time.monotonic(), time.process_time())
"""
TASKS = "from trading.celery import app; app.loader.import_default_modules()"


@bench
def scanner_cold_start(run: Run) -> Iterator[Figure]:
    """A new process up to its first answer, with the caches that `make setup` fills; and with every task of a worker.

    The way of `manage.py`: the collector waits until all is loaded. CPU beside the clock, for a machine that is busy.
    """
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "trading.settings.test",
        "NUMBA_CACHE_DIR": str(run.var / "numba"),
        "PYTHONPYCACHEPREFIX": str(run.var / "bytecode"),
        "CELERY_SKIP_CHECKS": "1",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, tasks in (("scanner_cold_start", ""), ("scanner_cold_start_with_tasks", TASKS)):
        taken: list[tuple[float, float]] = []
        for _ in range(run.rounds(12) + 1):
            began = time.monotonic()
            command = [sys.executable, "-c", SCANS.format(tasks=tasks)]
            told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            ready_at, busy = map(float, told.split()[-2:])
            taken.append((ready_at - began, busy))
        taken = taken[1:]  # the first fills the caches, as `make setup` does
        yield Figure(name, median(wall for wall, _ in taken), "s")
        yield Figure(f"{name}_cpu", median(busy for _, busy in taken), "s")
