"""The pages as axe-core judges them, light and dark: no grave fault for those who read by keyboard or by voice."""

from importlib.resources import files
from typing import Any

import pytest
from django.urls import reverse

from strategies.contracts.publish import publish_library
from tests.factories import PASSWORD
from tests.factories.hooks import a_hook, an_alert
from tests.factories.runs import finished_run
from tests.flows.full_desk import FullDesk, full_desk
from trading.portfolio.watchlists import watchlist_add, watchlist_create
from trading.web.navigation import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
GRAVE = ("serious", "critical")
JUDGE = """async (rules) => (await axe.run(document, {
    resultTypes: ['violations'], ...(rules ? {runOnly: {type: 'rule', values: rules}} : {}),
})).violations.map(({id, impact, nodes}) => [id, impact, nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])"""


@pytest.fixture
def desk(valkey) -> FullDesk:
    desk = full_desk()
    publish_library(actor="test")
    banks = watchlist_create(owner=desk.user, name="Banks")
    watchlist_add(owner=desk.user, watchlist_id=banks.pk, symbol="NSE:SBIN-EQ")
    return desk


def test_the_main_pages_have_no_grave_fault(page, web, desk, sign_in):
    from playwright.sync_api import expect

    run = finished_run(desk.user)
    page.goto(f"{web}/")
    found = {"sign-in": grave(page)}
    sign_in(page, desk.user)
    paths = [reverse(one.route) for one in PAGES if not one.staff]
    paths += ["/ticket/", "/market/data/", "/market/NSE:SBIN-EQ/", "/backtests/new/", f"/backtests/{run.pk}/"]
    paths += ["/strategies/new/", "/engine/settings/", "/risk/policy/"]
    for path in paths:
        page.goto(f"{web}{path}")
        found[path] = grave(page)
    hook, secret = a_hook(desk.world.portfolio)
    assert page.request.post(f"{web}{hook.path}", data=an_alert(secret)).status == 202
    for press in ("New secret", "Replay"):
        page.goto(f"{web}{reverse('web:hook', args=[hook.pk])}")
        page.locator("button", has_text=press).first.click()
        page.wait_for_selector("#dialog-body h2, #id_password")
        if page.locator("#id_password").count():  # a while has passed since the sign-in
            page.fill("#id_password", PASSWORD)
            page.click("text=Confirm >> nth=-1")
            page.locator("button", has_text=press).first.click()
        expect(page.locator("#dialog-body h2")).to_be_visible()
        found[press] = grave(page)
    assert {path: faults for path, faults in found.items() if faults} == {}


def grave(page: Any) -> list[Any]:
    """What is wrong on a page, in the light; and in the dark, where only the colours are others."""
    page.evaluate(AXE)
    said = page.evaluate(JUDGE, None)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    said += [["dark", *one] for one in page.evaluate(JUDGE, ["color-contrast"])]
    return [one for one in said if set(GRAVE) & {part for part in one if isinstance(part, str)}]
