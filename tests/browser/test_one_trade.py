"""One trade by hand, with nothing left out: browser, web process, engine, sandbox exchange, and back to the page."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db.models import Sum
from playwright.sync_api import Page, expect

from accounts.models import User
from execution.models import Fill, Group, Order
from tests.factories.world import house_policy
from tests.flows.conftest import own_environment, start_sandbox  # noqa: F401
from trading.desk.privileges import before_exec
from trading.desk.seed import SANDBOX_APP, SANDBOX_SECRET, seed_demo
from trading.desk.servers import CHECKOUT
from trading.portfolio.models import ClosedTrade, LedgerEntry, Position

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def engine(start_sandbox, valkey, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:  # noqa: F811
    """A desk as it is seeded, a sandbox exchange at ten times the pace of the world, and the engine between them."""
    house_policy()
    seed_demo()
    exchange = start_sandbox(
        "--seed", "7", "--speed", "10", "--start", "2026-11-20T10:30",
        "--app", f"{SANDBOX_APP}:{SANDBOX_SECRET}:XS00001:1000000",
    )  # fmt: skip
    with (tmp_path / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "engine"],
            cwd=CHECKOUT,
            env=own_environment() | {"SANDBOX_URL": exchange.base_url, "TARAZU_DB_POOL": "12"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=before_exec(owner=None, private=False, with_signal=signal.SIGKILL, parent=os.getpid()),
        )
    yield process
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
        pytest.fail(f"the engine did not stop:\n{(tmp_path / 'engine.log').read_text()[-2000:]}")


def test_a_trader_buys_watches_and_closes(page: Page, web: str, engine, sign_in):
    sign_in(page, User.objects.get(username="trader"))
    expect(page.locator("#part-status")).to_contain_text("Running", timeout=60_000)
    expect(page.locator("#heartbeat")).to_have_attribute("data-is", "live", timeout=30_000)

    page.keyboard.press("b")
    page.locator("#t-symbol").press_sequentially("sbin", delay=40)
    page.locator(".option", has_text="SBIN").first.click()
    limit = page.locator("#t-limit")
    expect(limit).not_to_have_value("")
    stop = round(float(limit.input_value()) * 0.985)
    page.locator("#t-quantity").fill("10")
    page.locator("#t-type").select_option("MARKET")
    page.locator("#t-stop").fill(str(stop))
    send = page.locator("[data-ticket-send]")
    expect(send).to_have_text("Buy 10 SBIN at market")
    send.click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("Sent to the engine")
    page.keyboard.press("Escape")

    row = page.locator("#part-positions tbody tr", has_text="SBIN")
    expect(row).to_contain_text("10", timeout=30_000)
    expect(row).to_contain_text(re.compile(r"Active"), timeout=30_000)
    price = row.locator('[data-field="ltp"]')
    before = price.inner_text()
    expect(price).not_to_have_text(before, timeout=30_000)

    row.get_by_role("button", name="Close SBIN").click()
    expect(dialog).to_contain_text("Sell 10 at market")
    dialog.get_by_role("button", name="Close SBIN").click()
    expect(dialog).to_contain_text("SBIN is closed", timeout=45_000)
    expect(dialog).to_contain_text("Flat: the broker agrees")
    dialog.get_by_role("button", name="Done").click()
    expect(page.locator("#part-positions")).to_contain_text("No open position")

    trade = ClosedTrade.objects.get()
    page.goto(f"{web}/journal/")
    expect(page.locator("main")).to_contain_text("SBIN")
    expect(page.locator("main")).to_contain_text("Manual")
    assert trade.quantity == 10 and trade.charges_paise > 0
    assert trade.gross_paise == trade.exit_value_paise - trade.entry_value_paise
    assert Group.objects.get().state == "CLOSED"
    assert Position.objects.get().net_quantity == 0
    assert not Order.objects.live().exists()
    assert sum(f.quantity * (1 if f.order.side == "BUY" else -1) for f in Fill.objects.select_related("order")) == 0
    assert LedgerEntry.objects.aggregate(total=Sum("amount_paise"))["total"] == 0
