"""The engine's page in a real browser: what comes into the queue appears by itself, a ladder is shown while typed."""

import re

import pytest

from tests.factories.engine import waiting
from tests.factories.world import open_market
from tests.flows.web_process import web  # noqa: F401
from trading.realtime.publish import publish

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_signal_that_waits_appears_by_itself_and_is_removed_by_a_press(web, page, sign_in, valkey):  # noqa: F811
    world = open_market()
    sign_in(page, world.user)
    page.goto(f"{web}/engine/")
    page.get_by_text("Nobody waits").wait_for()
    row = waiting(world, "LT")
    publish(world.user.pk, "signal", signal=str(row.signal_id), queue=row.pk)
    page.get_by_label("Remove LT").click()
    page.locator("#dialog").get_by_role("button", name="Remove LT").click()
    page.get_by_text("Removed from the queue.").wait_for()
    page.locator("#dialog").get_by_role("button", name="Done").click()
    page.get_by_text("Nobody waits").wait_for()


def test_a_ladder_is_weighed_while_it_is_typed(web, page, sign_in, valkey):  # noqa: F811
    world = open_market()
    sign_in(page, world.user)
    page.goto(f"{web}/engine/ladders/new/")
    page.get_by_label("Symbol").fill(world.instrument.symbol)
    page.get_by_text(re.compile("SBIN from 812.35")).wait_for()
    page.get_by_label("Weight of leg 5, percent").fill("30")
    page.get_by_text("The weights sum to 110").wait_for()
    page.get_by_label("Weight of leg 4, percent").fill("10")
    page.get_by_text(re.compile("SBIN from 812.35")).wait_for()
    page.get_by_label("Name").fill("Mine")
    page.get_by_role("button", name="Put in force").click()
    page.get_by_role("link", name="Mine").wait_for()
