"""The editor of rules in a real browser: coloured, judged at the character, helped, drawn and published."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from strategies.models import ContractVersion
from tests.factories.market import UniverseFactory, stored_candles
from tests.factories.world import ELEVEN, open_market
from trading.marketdata.models import UniverseMember

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_rule_is_written_mended_drawn_and_published(page, web, sign_in, valkey):
    world = open_market()
    universe = UniverseFactory(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=world.instrument, from_date="2020-01-01")
    starts = [ELEVEN - timedelta(minutes=90 - place) for place in range(90)]
    closes = [800 + (place % 20 if place % 40 < 20 else 20 - place % 20) for place in range(90)]
    stored_candles(world.feed, world.instrument, starts, [(c, c + 1, c - 1, c) for c in closes])
    sign_in(page, world.user)
    page.goto(f"{web}/strategies/new/")
    rule = page.locator("textarea[name='rules.long_entry']")
    field = page.locator("[data-rule-editor]").filter(has=rule)
    expect(field).to_contain_text("EMA 9 crosses above EMA 21")

    rule.fill("close > emma(close, 9)")
    expect(field.locator(".paper .fault")).to_have_text("emma")
    expect(rule).to_have_attribute("aria-invalid", "true")
    field.get_by_role("button", name="Use ema").click()
    expect(rule).to_have_value("close > ema(close, 9)")
    expect(field).to_contain_text("close is above EMA 9")

    rule.press("Control+End")
    rule.press_sequentially(" and sess")
    choices = field.get_by_role("listbox")
    expect(choices).to_contain_text("volume-weighted average price")
    rule.press("Escape")
    expect(choices).to_be_hidden()
    rule.fill("crosses_above(close, sma(close, 5))")

    page.locator("[name=timeframe]").select_option("1m")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("[data-preview-chart]")).to_contain_text("sma(close, 5)")

    page.locator("[name=name]").fill("My first rule")
    page.locator("[name=description]").fill("Buys what rises above its average.")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("[name=when_it_loses]:invalid")).to_have_count(1)
    page.locator("[name=when_it_loses]").fill(
        "In a market that goes nowhere it buys every small rise and loses on each."
    )
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("heading", name="My first rule")).to_be_visible()
    expect(page.locator("#stage")).to_contain_text("In research since it was published")
    version = ContractVersion.objects.get(contract__owner=world.user)
    assert version.body["rules"]["long_entry"] == "crosses_above(close, sma(close, 5))"
