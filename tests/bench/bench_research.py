"""From the press of a button to a tear sheet: a year of five minutes on fifty shares, through database and worker."""

import time
import uuid
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from statistics import median

import httpx
import numpy as np
from django.conf import settings
from django.test import Client

from strategies.contracts.publish import publish_library
from strategies.models import BacktestRun
from tests.bench import small_desk
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
    """Press, worker, page and file through the real web and worker processes; 100 sets beside as many single runs."""
    days = trading_days(20 if run.quick else DAYS)
    store_year(days)
    house_policy()
    publish_library(actor="bench")
    form = {
        "contract": "ema-alignment@1", "feed": "NSE", "from": days[0].isoformat(), "to": days[-1].isoformat(),
        "symbols": " ".join(f"B{at:02d}" for at in range(SYMBOLS)), "cash": "10000000", "charges": "fyers",
        "slippage": "2",
    }  # fmt: skip
    with (
        small_desk.web(run.var) as address,
        small_desk.process("manage.py", "worker", "--research", log=run.var / "research.log"),
        httpx.Client(base_url=address, timeout=300, cookies=session()) as client,
    ):
        press(client, form)
        rounds = [press(client, form) for _ in range(run.rounds(8))]
        for place, name in enumerate(("press_to_sheet_ms", "press_ms", "worker_ms", "sheet_ms")):
            yield Figure(f"research_50_symbols_year_{name}", median(one[place] for one in rounds), "ms")
        newest = BacktestRun.objects.order_by("-created_at").first()
        began = time.perf_counter()
        file = client.get(f"/backtests/{newest.pk}/files/tear-sheet.html").raise_for_status()
        yield Figure("research_offline_file_ms", (time.perf_counter() - began) * 1_000, "ms")
        yield Figure("research_offline_file_kb", len(file.content) / 1_000, "kB")

        tried = {"from.fast": "4", "to.fast": "13", "step.fast": "1", "from.slow": "15", "to.slow": "60"}
        _, asked, worked, _ = press(
            client, form | tried | {"step.slow": "5"}, "/backtests/new/?kind=SWEEP", "To find it again"
        )
        single = median(one[2] for one in rounds) * 100
        yield Figure("research_sweep_100_sets_ms", asked + worked, "ms", "as many single runs", single)


def session() -> dict[str, str]:
    """The cookie of somebody who has signed in."""
    client = Client()
    client.force_login(UserFactory())
    return {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}


def press(
    client: httpx.Client, form: dict[str, str], path: str = "/backtests/new/", shows: str = "Equity and drawdown"
) -> tuple[float, float, float, float]:
    """Milliseconds from the press to the last byte of the page, and of its three parts: the press, until the worker
    has stored its answer, the page."""
    if "csrftoken" not in client.cookies:
        client.get(path).raise_for_status()
    marks = [time.perf_counter()]
    headers = {"X-CSRFToken": client.cookies["csrftoken"], "Referer": str(client.base_url)}
    reply = client.post(path, data=form | {"key": str(uuid.uuid4())}, headers=headers)
    marks.append(time.perf_counter())
    if reply.status_code != 302:
        raise AssertionError(reply.text[-2_000:])
    where = reply.headers["Location"]
    asked = BacktestRun.objects.filter(pk=where.strip("/").rpartition("/")[2]).values_list("state", flat=True)
    while (state := asked.get()) in ("QUEUED", "RUNNING"):  # in the rows: nobody may ask the API so often
        time.sleep(0.01)
    marks.append(time.perf_counter())
    page = client.get(where).raise_for_status().text
    marks.append(time.perf_counter())
    if state != "DONE" or shows not in page:
        raise AssertionError(f"{state}: {page[-2_000:]}")
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
