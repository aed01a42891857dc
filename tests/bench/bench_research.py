"""From the press of a button to a tear sheet: a year of five minutes on fifty shares, through database and worker."""

import time
import uuid
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from statistics import median

import numpy as np
from django.conf import settings
from django.test import Client

from strategies.contracts.publish import publish_library
from strategies.models import BacktestRun
from strategies.runs.warm import warm_research
from strategies.runs.work import work
from tests.bench.harness import Figure, Run, bench
from tests.factories import UserFactory
from tests.factories.world import house_policy
from tests.unit.backtest.markets import wandering
from trading.marketdata.candles import columns_from, store_columns
from trading.marketdata.marks import Source
from trading.marketdata.models import Feed, Instrument, Universe, UniverseMember
from trading.venue.sessions import session_on

SYMBOLS, DAYS = 50, 250


@bench
def research(run: Run) -> Iterator[Figure]:
    """The button, the worker's part of it, the page, the file; a sweep of 100 sets beside as many single runs."""
    days = trading_days(20 if run.quick else DAYS)
    store_year(days)
    house_policy()
    publish_library(actor="bench")
    warm_research()
    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(UserFactory())
    form = {
        "contract": "ema-alignment@1", "feed": "NSE", "from": days[0].isoformat(), "to": days[-1].isoformat(),
        "symbols": " ".join(f"B{at:02d}" for at in range(SYMBOLS)), "cash": "10000000", "charges": "fyers",
        "slippage": "2",
    }  # fmt: skip
    press(client, form)
    rounds = [press(client, form) for _ in range(run.rounds(8))]
    for place, name in enumerate(("press_to_sheet_ms", "press_ms", "worker_ms", "sheet_ms")):
        yield Figure(f"research_50_symbols_year_{name}", median(one[place] for one in rounds), "ms")
    newest = BacktestRun.objects.order_by("-created_at").first()
    began = time.perf_counter()
    file = client.get(f"/backtests/{newest.pk}/files/tear-sheet.html")
    yield Figure("research_offline_file_ms", (time.perf_counter() - began) * 1_000, "ms")
    yield Figure("research_offline_file_kb", len(file.content) / 1_000, "kB")

    sets = {"from.fast": "4", "to.fast": "13", "step.fast": "1", "from.slow": "15", "to.slow": "60", "step.slow": "5"}
    began = time.perf_counter()
    client.post("/backtests/new/?kind=SWEEP", form | sets | {"key": str(uuid.uuid4())})
    work()
    swept = (time.perf_counter() - began) * 1_000
    single = median(one[2] for one in rounds) * 100
    yield Figure("research_sweep_100_sets_ms", swept, "ms", "as many single runs", single)


def press(client: Client, form: dict[str, str]) -> tuple[float, float, float, float]:
    """Milliseconds from the press to the last byte of the page, and of its three parts."""
    marks = [time.perf_counter()]
    reply = client.post("/backtests/new/", form | {"key": str(uuid.uuid4())})
    marks.append(time.perf_counter())
    work()
    marks.append(time.perf_counter())
    page = client.get(reply["Location"])
    marks.append(time.perf_counter())
    if b"Equity and drawdown" not in page.content:
        raise AssertionError(page.content[-2_000:].decode())
    first, second, third = (1_000 * (after - before) for before, after in pairwise(marks))
    return first + second + third, first, second, third


def trading_days(count: int) -> list[date]:
    days = (date.fromordinal(at) for at in range(date(2025, 1, 1).toordinal(), date(2026, 6, 1).toordinal()))
    found = [day for day in days if session_on(day, assume_weekdays=True)]
    return found[:count]


def store_year(days: list[date]) -> None:
    feed = Feed.objects.get_or_create(name="NSE", defaults={"kind": Feed.Kind.EXCHANGE})[0]
    universe = Universe.objects.get_or_create(name="nifty50")[0]
    sessions = [session_on(day, assume_weekdays=True) for day in days]
    starts = np.array([int(at.timestamp()) for one in sessions if one for at in one.bar_starts(5)], np.int64)
    for place in range(SYMBOLS):
        share = Instrument.objects.get_or_create(
            symbol=f"NSE:B{place:02d}-EQ", defaults={"name": f"B{place:02d}", "tick_size": "0.05"}
        )[0]
        UniverseMember.objects.get_or_create(universe=universe, instrument=share, from_date=date(2020, 1, 1))
        rows = np.rint(wandering(100 + place, starts.size, spread=0.0015) * 10_000).astype(np.int64)
        bars = np.vstack((starts, rows.T, np.full(starts.size, 10_000)))
        store_columns(feed, 5, columns_from(share.pk, bars, Source.IMPORT))
