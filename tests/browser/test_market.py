"""Watching the market in a real browser: a list that is filled by search and moves, a chart that draws and follows."""

from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import expect

from execution.cells import quote_cells
from tests.factories.world import World, open_market, quote
from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, store_bars
from trading.marketdata.clocks import venue_now
from trading.marketdata.quotes import last_quotes
from trading.realtime.publish import publish_now

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(valkey) -> World:
    return open_market()


def candles(world: World, count: int) -> None:
    now, bars = venue_now(world.feed.name), []
    for back in range(count, 0, -1):
        close = Decimal("812.35") + Decimal(back % 9) / 4
        bars.append(
            Bar(world.instrument.symbol, now - timedelta(minutes=back), close, close + 1, close - 1, close, 500)
        )
    store_bars(world.feed, 1, bars, HISTORY)


def test_a_list_is_filled_by_search_follows_the_prices_and_leads_to_a_chart_that_follows_too(page, web, world, sign_in):
    candles(world, 90)
    sign_in(page, world.user)
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url(f"{web}/market/")
    page.fill("#w-first", "Banks")
    page.get_by_role("button", name="Make the list").click()
    expect(page.locator("#watchlist")).to_contain_text("“Banks” is empty")
    page.fill("#m-find", "sbi")
    page.get_by_role("button", name="Add SBIN to Banks").click()
    cell = page.locator('#watchlist [data-quote="NSE:SBIN-EQ"][data-field="ltp"]')
    expect(cell).to_have_text("812.35")
    expect(page.locator("#watchlist svg.spark")).to_have_count(1)

    def tick(price: str) -> None:
        quote(world.feed, world.instrument, price)
        publish_now(world.user.pk, "prices", {"quotes": quote_cells(last_quotes(world.feed.name))})

    tick("815.60")
    expect(cell).to_have_text("815.60")

    page.locator("#watchlist").get_by_role("link", name="SBIN").click()
    chart = page.locator("[data-candle-chart]")
    expect(chart.locator("canvas").first).to_be_visible()
    expect(chart.locator(".legend")).to_contain_text("815.60")
    expect(chart).to_contain_text("TradingView Lightweight Charts")
    tick("819.90")
    expect(chart.locator(".legend")).to_contain_text("C 819.90")

    page.select_option("#i-name", "rsi")
    expect(page.locator("#i-constants")).to_have_attribute("placeholder", "period 14")
    page.get_by_role("button", name="Add indicator").click()
    expect(page.locator(".legend")).to_contain_text("RSI 14")
    page.get_by_role("button", name="15 min").click()
    expect(page.locator("[data-candle-chart]")).to_have_attribute("data-label", "SBIN, 15 min")
    expect(page.locator(".legend")).to_contain_text("RSI 14")

    page.locator(".stage").focus()
    for key in ("ArrowLeft", "ArrowLeft", "-", "Home"):
        page.keyboard.press(key)
    expect(page.locator(".legend")).to_contain_text("09:30")
    page.get_by_role("button", name="Show as table").click()
    expect(page.locator(".chart-table tbody tr").first).to_contain_text("819.90")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = download.value.path().read_text()
    assert text.startswith("time,open,high,low,close,volume,RSI 14,marks")
    assert "2026-02-16T10:45:00+05:30" in text
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG").click()
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    assert unnamed(page) == []


def test_a_gap_is_opened_and_a_chart_that_cannot_be_fetched_says_so(page, web, world, sign_in):
    candles(world, 3)
    sign_in(page, world.user)
    page.goto(f"{web}/market/data/")
    page.get_by_role("button", name="Which bars of SBIN on 16 February").click()
    expect(page.locator("#dialog")).to_contain_text("09:15:00")
    assert unnamed(page) == []
    page.route("**/candles/**", lambda route: route.fulfill(status=503, json={"detail": "The store does not answer"}))
    page.goto(f"{web}/market/NSE:SBIN-EQ/")
    note = page.locator(".chart-note")
    expect(note).to_contain_text("The candles could not be fetched")
    expect(note).to_contain_text("The store does not answer")
    page.unroute("**/candles/**")
    note.get_by_role("button", name="Try again").click()
    expect(page.locator(".legend")).to_contain_text("16 Feb 2026")
    page.said_in_console[:] = [said for said in page.said_in_console if "503" not in said]


def unnamed(page) -> list[str]:
    """Controls without a name, and pictures without words: what a screen reader would pass over in silence."""
    return page.evaluate(
        """() => [...document.querySelectorAll('main button, main a, main input:not([type=hidden]), main select')]
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || e.labels?.length))
            .map((e) => e.outerHTML.slice(0, 120))"""
    )
