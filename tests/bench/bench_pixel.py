"""From the commit of a fill to what a trader sees, in a real browser over a real web process.

The browser and we share one machine and one wall clock. A fill of one unit is booked; the row of its position then
shows one unit more, and the first animation frame after that is the pixel.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from statistics import median
from typing import Any

import websockets.sync.client as sockets
from django.db import connection, transaction
from django.test import Client

from execution.models import Order
from execution.services.fill_apply import fill_apply
from tests.bench import small_desk
from tests.bench.harness import Figure, Run, Skipped, bench, percentile
from tests.browser.conftest import ARGUMENTS
from tests.factories import FillFactFactory, IntentFactory, OrderFactory
from tests.flows.full_desk import FullDesk, full_desk
from trading.marketdata.clocks import venue_now

POLLED = "a page that fetches its table each second"
SEEN = """([row, text]) => { window.seen = new Promise((done) => {
  const look = () => requestAnimationFrame(() => {
    const shown = document.getElementById(row)?.cells[1]?.textContent.trim();
    if (shown === text) requestAnimationFrame(() => done(performance.timeOrigin + performance.now())); else look();
  });
  look(); }); }"""
POLL = """([path, row, text]) => { window.seen = new Promise((done) => {
  const timer = setInterval(async () => {
    const page = new DOMParser().parseFromString(await (await fetch(path)).text(), "text/html");
    const found = page.getElementById(row);
    if (found?.cells[1]?.textContent.trim() !== text) return;
    clearInterval(timer);
    document.getElementById(row).replaceWith(document.adoptNode(found));
    requestAnimationFrame(() => done(performance.timeOrigin + performance.now()));
  }, 1000); }); }"""


class Filling:
    """One position that grows by one unit at each fill."""

    def __init__(self, desk: FullDesk) -> None:
        self.desk, self.group = desk, desk.groups[0]
        intent = IntentFactory(group=self.group, wanted_quantity=800, reason="ENTRY")
        self.order: Order = OrderFactory(intent=intent, state="OPEN", broker_order_id="26021600099999")
        self.held = 150
        self._trades = count()

    @property
    def row(self) -> str:
        return f"row-{self.group.pk}"

    @property
    def next_text(self) -> str:
        return str(self.held + 1)

    def fill(self) -> float:
        """Book the next unit; wall milliseconds right after its commit."""
        committed: list[int] = []
        fact = FillFactFactory(
            broker_order_id=self.order.broker_order_id, broker_trade_id=f"P{next(self._trades)}", quantity=1,
            symbol=self.group.instrument.symbol, price=Decimal("818.90"),
            filled_at=venue_now(self.desk.world.feed.name),
        )  # fmt: skip
        with transaction.atomic():
            transaction.on_commit(lambda: committed.append(time.time_ns()))  # before anybody is told
            assert fill_apply(account_id=self.order.account_id, fact=fact, source="SOCKET")
        self.held += 1
        return committed[0] / 1e6


@bench
def pixel(run: Run) -> Iterator[Figure]:
    """A fill's commit to the frame on the socket, and to the changed row in Chromium."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise Skipped("no Chromium: install it, or name it in CHROMIUM")
    # Playwright keeps a loop in this thread, so Django takes our queries for a coroutine's.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    desk = full_desk(name="Pixel")
    client = Client()
    client.force_login(desk.user)
    session = client.cookies["sessionid"].value
    with small_desk.web(run.var) as address:
        filling = Filling(desk)
        with sockets.connect(
            address.replace("http", "ws") + "/ws/desk/", additional_headers={"Cookie": f"sessionid={session}"},
            origin=address, open_timeout=10,
        ) as line:  # fmt: skip
            frames = [heard(line, filling) for _ in range(run.rounds(100))][3:]
        with browser(chromium, address, session) as open_page:
            page = open_page()
            shown = [seen(page, SEEN, [], filling) for _ in range(run.rounds(60))][2:]
            page.close()
            other = open_page()
            polled = [seen(other, POLL, ["/desk/part/positions/"], filling) for _ in range(run.rounds(20))]
            connection.close()  # the one of Playwright's loop
    connection.close()
    yield Figure("fill_to_frame_p50", median(frames), "ms", POLLED, median(polled))
    yield Figure("fill_to_frame_p99", percentile(frames, 0.99), "ms")
    yield Figure("fill_to_pixel_p50", median(shown), "ms", POLLED, median(polled))
    yield Figure("fill_to_pixel_p99", percentile(shown, 0.99), "ms", POLLED, percentile(polled, 0.99))


def heard(line: Any, filling: Filling) -> float:
    """Milliseconds from commit to the frame that says that the position has changed."""
    time.sleep(0.03)
    committed = filling.fill()
    while json.loads(line.recv(timeout=5))["kind"] != "position":
        pass
    return time.time_ns() / 1e6 - committed


def seen(page: Any, script: str, first: list[str], filling: Filling) -> float:
    """Milliseconds from commit to the frame in which the row shows the new quantity."""
    page.evaluate(script, [*first, filling.row, filling.next_text])
    time.sleep(random.uniform(0.1, 1.1) if first else random.uniform(0.2, 0.4))
    committed = filling.fill()
    return float(page.evaluate("window.seen")) - committed


class browser:
    """Chromium, signed in."""

    def __init__(self, chromium: str, address: str, session: str) -> None:
        self.chromium, self.address, self.session = chromium, address, session

    def __enter__(self) -> Callable[[], Any]:
        from playwright.sync_api import sync_playwright

        self._play = sync_playwright().start()
        self._browser = self._play.chromium.launch(executable_path=self.chromium, args=ARGUMENTS)
        context = self._browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": self.session, "url": self.address}])

        def open_page() -> Any:
            page = context.new_page()
            page.set_default_timeout(15_000)
            page.goto(f"{self.address}/")
            page.wait_for_selector("[id^=row-]")
            page.wait_for_timeout(500)
            return page

        return open_page

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._play.stop()
