"""The live page in a real browser: cells move, a lost line comes back, and a position is closed by hand."""

import re
import time
from decimal import Decimal

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from execution.cells import position_cells, quote_cells
from execution.holdings import open_holdings
from execution.models import Group
from tests.factories.world import quote
from tests.flows.full_desk import FullDesk, full_desk
from trading.marketdata.clocks import venue_now
from trading.marketdata.quotes import last_quotes
from trading.portfolio.valuation import value_portfolio
from trading.realtime.publish import publish_now

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def desk(valkey) -> FullDesk:
    return full_desk()


def tick(desk: FullDesk, number: int, price: str) -> None:
    """A price arrives: stored and shown as the engine does it."""
    world, group = desk.world, desk.groups[number]
    quote(world.feed, group.instrument, price)
    quotes = last_quotes(world.feed.name)
    value = value_portfolio(world.portfolio, quotes=quotes, now=venue_now(world.feed.name))
    publish_now(desk.user.pk, "prices", {"quotes": quote_cells(quotes)})
    publish_now(desk.user.pk, "positions", {"rows": position_cells(open_holdings(world.portfolio, value))})


def cell(page: Page, desk: FullDesk, number: int, name: str):
    return page.locator(f'[data-row="{desk.groups[number].pk}"][data-field="{name}"]')


def test_a_trader_signs_in_sees_a_price_move_and_closes_a_position(page, web, desk, sign_in):
    sign_in(page, desk.user)
    expect(cell(page, desk, 0, "ltp")).to_have_text("818.90")
    expect(page.locator("#heartbeat")).to_have_attribute("data-is", "live")
    tick(desk, 0, "821.15")
    expect(cell(page, desk, 0, "ltp")).to_have_text("821.15")
    expect(cell(page, desk, 0, "pnl")).to_have_text("+1,320.00")
    tick(desk, 0, "809.35")
    expect(cell(page, desk, 0, "pnl")).to_have_text("−450.00")
    expect(cell(page, desk, 0, "pnl")).to_have_class(re.compile(r"\bdown\b"))

    page.get_by_role("button", name="Close SBIN").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("Sell 150 at market")
    assert not Group.objects.filter(close_reason__gt="").exists()
    dialog.get_by_role("button", name="Close SBIN").click()
    expect(dialog).to_contain_text("Closing SBIN")
    assert Group.objects.get(pk=desk.groups[0].pk).close_reason == "MANUAL"
    Group.objects.filter(pk=desk.groups[0].pk).update(state="CLOSED", closed_at=desk.now)
    publish_now(desk.user.pk, "position", {"group": str(desk.groups[0].pk)})
    expect(dialog).to_contain_text("SBIN is closed")
    dialog.get_by_role("button", name="Done").click()
    expect(page.locator(f"#row-{desk.groups[0].pk}")).to_have_count(0)


def test_a_lost_event_is_noticed_and_fetched(page, web, desk, sign_in, valkey):
    sign_in(page, desk.user)
    expect(page.locator("#heartbeat")).to_have_attribute("data-is", "live")
    quote(desk.world.feed, desk.groups[1].instrument, "1431.30")
    valkey.incr(f"{settings.REDIS_PREFIX}:seq:user.{desk.user.pk}", 3)  # three events that never arrive
    publish_now(desk.user.pk, "engine", {"account": 1})
    expect(cell(page, desk, 1, "ltp")).to_have_text("1,431.30")
    expect(cell(page, desk, 1, "pnl")).to_have_text("+600.00")
    expect(page.locator("#catching")).to_be_hidden()


def test_a_lost_line_is_said_and_comes_back(page, web, desk, sign_in):
    page.add_init_script(
        """const Real = WebSocket;
        window.WebSocket = function (to) { return (window.line = new Real(window.cut ? "ws://127.0.0.1:1/" : to)); };
        window.WebSocket.CLOSED = Real.CLOSED;"""
    )
    sign_in(page, desk.user)
    expect(page.locator("#heartbeat")).to_have_attribute("data-is", "live")
    page.evaluate("window.cut = true; window.line.close()")
    expect(page.locator("#catching")).to_be_visible()
    expect(page.locator("#heartbeat")).to_have_attribute("data-is", "delayed")
    quote(desk.world.feed, desk.groups[0].instrument, "830.00")  # happens while nobody listens
    page.evaluate("window.cut = false")
    expect(cell(page, desk, 0, "ltp")).to_have_text("830.00", timeout=45_000)
    expect(page.locator("#catching")).to_be_hidden()
    page.said_in_console.clear()  # the browser itself complains of the line that was cut


def test_a_signed_out_page_goes_to_the_entrance(page, web, desk, sign_in):
    from django.contrib.sessions.models import Session

    sign_in(page, desk.user)
    Session.objects.all().delete()
    page.wait_for_url(re.compile("/account/login/"), timeout=8_000)
    page.said_in_console.clear()  # the browser's own word on answers of 401


def test_nothing_shifts_when_prices_move_fast(page, web, desk, sign_in):
    sign_in(page, desk.user)
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(600)
    page.evaluate(
        """() => { window.shifted = 0; window.longest = 0;
        new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shifted += e.value; })
            .observe({ type: "layout-shift" });
        new PerformanceObserver((l) => { for (const e of l.getEntries()) longest = Math.max(longest, e.duration); })
            .observe({ type: "longtask" }); }"""
    )
    end = time.monotonic() + 3
    price = Decimal("818.90")
    while time.monotonic() < end:
        price += Decimal("0.05")
        tick(desk, 0, str(price))
    expect(cell(page, desk, 0, "ltp")).to_have_text(f"{price:.2f}")
    assert page.evaluate("window.shifted") < 0.01
    assert page.evaluate("window.longest") < 200


def test_the_kill_switch_is_held_not_clicked(page, web, desk, sign_in):
    sign_in(page, desk.user)
    kill, dialog = page.locator("#kill"), page.locator("#dialog")
    kill.click()
    page.wait_for_timeout(1_300)
    expect(dialog).to_be_hidden()
    box = kill.bounding_box()
    page.mouse.move(box["x"] + 8, box["y"] + 8)
    page.mouse.down()
    expect(dialog).to_contain_text("Stop trading")
    page.mouse.up()
    dialog.get_by_label("Reason").fill("Prices look wrong")
    dialog.get_by_role("button", name="Pull the kill switch").click()
    expect(dialog).to_contain_text("Entries are blocked")


def test_the_desk_works_by_keys_alone(page, web, desk, sign_in):
    sign_in(page, desk.user)
    page.keyboard.press("j")
    expect(page.locator(f"#row-{desk.groups[0].pk}")).to_be_focused()
    page.keyboard.press("s")
    ticket = page.locator("[data-ticket]")
    expect(ticket).to_have_attribute("data-side", "SELL")
    page.keyboard.type("sbi", delay=40)
    expect(page.locator(".option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("25")
    expect(page.locator("[data-ticket-send]")).to_have_text("Sell 25 SBIN at ₹818.90")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/orders/")


def test_light_and_dark_are_remembered(page, web, desk, sign_in):
    page.emulate_media(color_scheme="light")
    sign_in(page, desk.user)
    page.click("[data-theme-switch]")
    page.goto(f"{web}/journal/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


TOO_WIDE = """() => [...document.querySelectorAll("main *, header *, nav *")]
    .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth)
    .filter((one) => !one.closest(".scroll"))
    .slice(0, 8).map((one) => `${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 40)}`)"""


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1440, 2560])
def test_no_page_scrolls_sideways(page, web, desk, sign_in, width):
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, desk.user)
    for address in ["/", "/positions/", "/orders/", "/signals/", "/journal/", f"/orders/{desk.orders[0].pk}/"]:
        page.goto(f"{web}{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (address, page.evaluate(TOO_WIDE))
