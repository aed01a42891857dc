"""A thousand combinations over a hundred thousand bars, and one report, beside engines of other people.

The peers live in a Python of their own: BENCH_PEERS_PYTHON names one that has vectorbt 1.2 with its rust extra,
BENCH_NAUTILUS_PYTHON one that has nautilus_trader (by default the same). Without them the desk's figures stand alone.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from strategies.backtest.engine import arguments_of
from strategies.backtest.market import Market
from strategies.backtest.plan import Account, Costs, Plan
from strategies.backtest.sweep import Combinations, plan_with, sweep, trades_of
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from strategies.rules.compiled import compile_rule
from strategies.rules.evaluate import Evaluation
from tests.bench.backtest_peers import FAST, SLOW
from tests.bench.bench_backtest import everything, natural_ms, report
from tests.bench.harness import Figure, Run, bench
from tests.unit.backtest.markets import intraday
from trading.venue.charges import ChargeBroker
from trading.venue.matching import UNITS_PER_RUPEE

SCRIPT = Path(__file__).with_name("backtest_peers.py")


@bench
def sweep_of_a_thousand(run: Run) -> Iterator[Figure]:
    """1,000 combinations × 100,000 bars with all charges and figures; peers where BENCH_PEERS_PYTHON names them."""
    bars = 20_000 if run.quick else 100_000
    market = intraday(bars)
    plan, tried = crossing(), Combinations.grid({"slow": SLOW, "fast": FAST})
    sweep(plan, market, tried)
    before = peak_mb()
    found = sweep(plan, market, tried)
    added = max(1.0, peak_mb() - before)
    one, seconds_one = best_of(lambda: sweep(plan, market, tried))
    two, _ = best_of(lambda: sweep(plan, market, tried, workers=2))
    half = intraday(bars // 2)
    sweep(plan, half, tried)
    short, _ = best_of(lambda: sweep(plan, half, tried))
    check(plan, market, tried, found)

    file = run.var / "bars.npz"
    np.savez(file, bars=np.concatenate(market.prices))
    count = len(tried)
    peer, metrics = ask("vectorbt_sweep", file), ask("vectorbt_sweep_metrics", file)
    name, with_all = "vectorbt (rust, chunks of 100)", "vectorbt with drawdown and Sharpe"
    yield Figure("sweep_1_core_per_s", count / one, "1/s", *rate(name, peer, count))
    yield Figure("sweep_1_core_all_figures_per_s", count / one, "1/s", *rate(with_all, metrics, count))
    yield Figure("sweep_2_cores_per_s", count / two, "1/s", "the same on one core", count / one)
    yield Figure("sweep_added_memory_mb", memory_of_a_fresh_process(bars), "MB", *memory(name, peer))
    yield Figure("sweep_twice_the_bars", one / short, "times the time of half the bars")
    yield Figure("sweep_processor_s", seconds_one, "s")
    yield Figure("sweep_again_added_mb", added, "MB")

    full = everything(symbols=1)
    ours = natural_ms(lambda: report(full, market), run.rounds(20))
    stats, other = ask("vectorbt_stats", file), ask("nautilus", file, python="BENCH_NAUTILUS_PYTHON")
    yield Figure("report_ms", ours, "ms", *milliseconds("vectorbt stats()", stats))
    yield Figure("report_beside_nautilus_ms", ours, "ms", *milliseconds("nautilus_trader", other))
    if not run.quick:
        million = intraday(1_000_000)
        large = run.var / "million.npz"
        np.savez(large, bars=np.concatenate(million.prices))
        yield Figure(
            "report_1m_added_mb", memory_of_a_fresh_process(1_000_000, "report"), "MB",
            *memory("vectorbt stats()", ask("vectorbt_stats", large)),
        )  # fmt: skip


def crossing() -> Plan:
    base = {"fast": 5.0, "slow": 60.0}
    return Plan(
        name="sweep", version="", short_entry=None,
        long_entry=compile_rule("crosses_above(sma(close, fast), sma(close, slow))", base),
        long_exit=compile_rule("crosses_below(sma(close, fast), sma(close, slow))", base),
        stop=StopSpec(StopKind.PERCENT, Decimal(1)), target=TargetSpec(TargetKind.PERCENT, Decimal(2)),
        account=Account(cash=Decimal(1_000_000)),
        costs=Costs(charges=ChargeBroker.FYERS, slippage_bps=Decimal(2)),
    )  # fmt: skip


def check(plan: Plan, market: Market, tried: Combinations, found) -> None:
    """Trades of some combinations, from the event loop, are those the sweep counted."""
    for place in range(0, len(tried), 97):
        whole = arguments_of(plan_with(plan, tried.one(place)), market, Evaluation(market.adjusted))
        count, cash = whole.simulate()
        if not np.array_equal(whole.trades[:count], trades_of(plan, market, tried.one(place))):
            raise AssertionError(f"combination {place} trades otherwise than the event loop")
        if found.figures(place)["final_equity"] != cash / UNITS_PER_RUPEE:
            raise AssertionError(f"combination {place} ends otherwise than the event loop")


def best_of(call, rounds: int = 5) -> tuple[float, float]:
    """The middle round in seconds of the wall, and of the processor."""
    wall, used = [], []
    for _ in range(rounds):
        began, before = perf_counter(), process_time()
        call()
        wall.append(perf_counter() - began)
        used.append(process_time() - before)
    return sorted(wall)[rounds // 2], sorted(used)[rounds // 2]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def memory_of_a_fresh_process(bars: int, what: str = "sweep") -> float:
    """Megabytes the work adds to a process that holds the bars and has compiled everything."""
    program = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'trading.settings.test'\n"
        "import django; django.setup()\n"
        "from tests.bench.bench_sweep import *\n"
        "plan, tried, full = crossing(), Combinations.grid({'slow': SLOW, 'fast': FAST}), everything(symbols=1)\n"
        "small = intraday(2_000)\n"
        f"work = (lambda m: sweep(plan, m, tried)) if '{what}' == 'sweep' else (lambda m: report(full, m))\n"
        "work(small)\n"
        f"market = intraday({bars}); market.prices; del small\n"
        "before = peak_mb(); work(market); print('RESULT', peak_mb() - before)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return float(next(line for line in said.splitlines() if line.startswith("RESULT")).split()[1])


def ask(work: str, file: Path, python: str = "BENCH_PEERS_PYTHON") -> dict[str, float] | None:
    """A peer's figures, or None, said aloud, where no Python with it is named."""
    named = os.environ.get(python) or os.environ.get("BENCH_PEERS_PYTHON")
    if not named:
        print(f"{work}: absent; name a Python that has it in {python}", file=sys.stderr)
        return None
    said = subprocess.run([named, str(SCRIPT), work, str(file)], capture_output=True, text=True, check=False)
    result = [line for line in said.stdout.splitlines() if line.startswith("RESULT ")]
    if not result:
        print(f"{work}: not in {named}: {said.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(result[0][7:])
    return found


def rate(name: str, peer: dict[str, float] | None, count: int) -> tuple[str | None, float | None]:
    return (None, None) if peer is None else (name, count / peer["seconds"])


def memory(name: str, peer: dict[str, float] | None) -> tuple[str | None, float | None]:
    return (None, None) if peer is None else (name, peer["added_mb"])


def milliseconds(name: str, peer: dict[str, float] | None) -> tuple[str | None, float | None]:
    return (None, None) if peer is None else (name, peer["seconds"] * 1_000)
