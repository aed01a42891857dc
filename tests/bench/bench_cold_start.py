"""How long a scanning process needs before it can answer: imports, kernels out of the cache, nothing compiled."""

import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from tests.bench.harness import Figure, Run, bench, timed

READY = """
import django
django.setup()
from strategies.rules.evaluate import compile_rule
from strategies.scanner.scan_bar import rule_window
from strategies.scanner.warm import _made_up
from trading.marketdata.aligned import warm_blocks
warm_blocks()
rule = compile_rule("crosses_above(ema(close, 9), ema(close, 21)) and rsi(close, 14) > 50")
rule.evaluate(rule_window(_made_up(300, 1)))
"""


@bench
def scanner_cold_start(run: Run) -> Iterator[Figure]:
    """A new process up to its first answer, with the cache that `make setup` fills."""
    cache = {"NUMBA_CACHE_DIR": str(run.var / "numba"), "DJANGO_SETTINGS_MODULE": "trading.settings.test"}
    environment = os.environ | cache

    def start() -> None:
        subprocess.run([sys.executable, "-c", READY], env=environment, check=True, capture_output=True)

    start()  # fills the cache, as `make setup` does
    seconds = timed(start, run.rounds(8))
    yield Figure("scanner_cold_start", median(seconds), "s")
