"""A trader asks for a backtest, watches it, and reads the tear sheet: form, web process, worker, page."""

import threading
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from strategies.models import BacktestRun
from strategies.runs.work import work
from tests.factories import PortfolioFactory
from tests.factories.history import stored_history

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_from_the_button_to_the_candles_of_a_trade(
    page: Page, web: str, valkey, sign_in, tmp_path: Path
):  # fmt: skip
    stored_history(minutes=1)  # as a desk has it: the bars of the contract are made of these
    sign_in(page, PortfolioFactory().owner)
    page.goto(f"{web}/backtests/")
    page.locator("main").get_by_text("New backtest").first.click()
    page.locator("#f-contract").select_option("ema-alignment@1")
    expect(page.locator("#p-fast")).to_be_visible()
    page.locator("#f-feed").select_option("NSE")
    page.locator("#f-from").fill("2026-02-17")
    page.locator("#f-to").fill("2026-02-27")
    page.locator("#f-symbols").fill("sbin itc")
    page.locator("#p-fast").fill("5")
    page.locator(".run-form button.primary").click()
    expect(page.locator("#part-run")).to_contain_text("waits for a free worker")

    worker = threading.Thread(target=_work)
    worker.start()
    expect(page.locator(".pair svg.equity")).to_be_visible(timeout=60_000)
    worker.join(timeout=30)
    assert BacktestRun.objects.get().request["parameters"] == {"fast": "5"}
    chart = page.locator("#candles-of-trade")
    expect(chart.locator(".legend")).to_contain_text("2026")
    last = page.locator("tr[data-trade-chart]").last
    last.click()
    expect(page.locator("[data-trade-title]")).to_have_text(last.get_attribute("data-trade-name") or "")
    with page.expect_download() as saved:
        page.get_by_text("Save as").click()
        page.get_by_text("tear-sheet.html").click()
    kept = tmp_path / "tear-sheet.html"
    saved.value.save_as(kept)
    page.context.set_offline(True)
    page.goto(f"file://{kept}")
    expect(page.get_by_text("Equity and drawdown")).to_be_visible()
    expect(page.locator("svg text.mark.buy").first).to_be_attached()
    page.context.set_offline(False)


def _work() -> None:
    try:
        work()
    finally:
        connection.close()
