"""Corporate actions entered by their announcement: console, program, command; seen first, entered once, withdrawn."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from tests.factories import FeedFactory, GroupFactory, InstrumentFactory, PositionFactory, UserFactory
from tests.factories.strategies import DeploymentFactory
from trading.audit.models import AuditEntry
from trading.domain.errors import Conflict, NotAllowed
from trading.marketdata.builder import Bar
from trading.marketdata.candles import IMPORT, store_bars
from trading.marketdata.listing.actions import Suspicion, suspect_actions
from trading.marketdata.listing.announcements import (
    Form,
    Terms,
    announce_action,
    complete_announced,
    preview_action,
    withdraw_action,
)
from trading.marketdata.models import CorporateAction
from trading.marketdata.quality.stored import doubts_about
from trading.marketdata.windows import load_window
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
MONDAY, TUESDAY = date(2026, 2, 16), date(2026, 2, 17)
NOW = datetime(2026, 2, 16, 12, tzinfo=UTC)
BONUS = Terms(Form.BONUS, new=1, old=2)


@pytest.fixture
def feed():
    return FeedFactory(name="NSE", kind="EXCHANGE")


@pytest.fixture
def share():
    return InstrumentFactory(symbol="NSE:AAA-EQ")


def close(feed, share, day: date, price: str, *, opened: str = "") -> None:
    value, first = Decimal(price), Decimal(opened or price)
    bar = Bar(share.symbol, session_on(day).opens_at, first, max(value, first), min(value, first), value, 900)
    store_bars(feed, 1440, [bar], IMPORT)


def announce(share, terms=BONUS, *, ex_date=TUESDAY, source="circular 7", **more):
    given = {"note": "", "actor": "op", "now": NOW} | more
    return announce_action(instrument=share, ex_date=ex_date, terms=terms, source=source, **given)


@pytest.mark.parametrize(("terms", "factor"), [
    (Terms(Form.SPLIT, new=5, old=1), "0.2"),
    (Terms(Form.BONUS, new=1, old=2), "0.6666666667"),
    (Terms(Form.DIVIDEND, amount=Decimal(30)), "0.97"),
    (Terms(Form.RIGHTS, new=1, old=4, amount=Decimal(800)), "0.96"),  # (4 × 1000 + 800) / 5 / 1000
    (Terms(Form.RIGHTS, new=1, old=4, amount=Decimal(1200)), "1"),  # dearer than the market
    (Terms(Form.DEMERGER, kept_pct=Decimal("68.85")), "0.6885"),
    (Terms(Form.MERGER, new=42, old=25), "0.5952380952"),
    (Terms(Form.FACTOR, factor=Decimal("0.93")), "0.93"),
])  # fmt: skip
def test_what_is_announced_gives_its_factor(feed, share, terms, factor):
    close(feed, share, MONDAY, "1000")
    row = announce(share, terms)
    assert (row.factor, row.state) == (Decimal(factor), "CONFIRMED")


@pytest.mark.parametrize("terms", [
    Terms(Form.SPLIT, new=5), Terms(Form.BONUS, new=0, old=1), Terms(Form.BONUS, new=1, old=10**6),
    Terms(Form.DIVIDEND, amount=Decimal(-1)), Terms(Form.DIVIDEND, amount=Decimal("NaN")), Terms(Form.DIVIDEND),
    Terms(Form.DIVIDEND, amount=Decimal(1000)), Terms(Form.DEMERGER, kept_pct=Decimal(120)),
    Terms(Form.FACTOR, factor=Decimal(0)), Terms(Form.FACTOR, factor=Decimal("1e9")),
])  # fmt: skip
def test_terms_that_cannot_be_are_refused_and_nothing_is_kept(feed, share, terms):
    close(feed, share, MONDAY, "1000")
    with pytest.raises(NotAllowed, match=""):
        announce(share, terms)
    assert not CorporateAction.objects.exists() and not AuditEntry.objects.exists()


def test_a_day_without_trading_and_a_word_without_a_source_are_refused(share):
    with pytest.raises(NotAllowed):
        announce(share, ex_date=date(2026, 2, 15))
    with pytest.raises(NotAllowed):
        announce(share, source="  ")


def test_adjusted_views_change_from_the_ex_date_on_and_raw_ones_never(feed, share):
    close(feed, share, MONDAY, "300")
    close(feed, share, TUESDAY, "202", opened="200")
    announce(share)
    end = datetime(2026, 2, 17, 12, tzinfo=UTC)
    raw, adjusted = (load_window(feed, [share], 1440, bars=2, until=end, adjusted=one) for one in (False, True))
    assert raw.close[0].tolist() == [300, 202] and np.allclose(adjusted.close[0], [200, 202])
    assert np.allclose(adjusted.volume[0], [1350, 900])
    before = load_window(feed, [share], 1440, bars=1, until=NOW, adjusted=True)
    assert before.close[0].tolist() == [300], "the day before knows nothing of it"


def test_the_same_again_changes_nothing_and_another_needs_a_withdrawal(feed, share):
    first = announce(share)
    assert announce(share).pk == first.pk and announce(share, source="another paper").source == "circular 7"
    assert AuditEntry.objects.filter(action="action.announced").count() == 1
    with pytest.raises(Conflict) as known:
        announce(share, Terms(Form.BONUS, new=1, old=1))
    assert known.value.code == "ACTION_KNOWN"
    withdraw_action(action_id=first.pk, actor="op", note="the wrong ratio", now=NOW)
    assert announce(share, Terms(Form.BONUS, new=1, old=1)).factor == Decimal("0.5")
    assert CorporateAction.objects.count() == 1


def test_a_dividend_waits_for_the_close_before_it_and_nothing_is_traded_from_the_ex_date_on(feed, share):
    row = announce(share, Terms(Form.DIVIDEND, amount=Decimal(30)))
    assert row.state == "ANNOUNCED"
    asked = {"bar_at": datetime(2026, 2, 17, 5, tzinfo=UTC), "since": datetime(2026, 2, 10, tzinfo=UTC)}
    assert doubts_about(feed, [share], 1, **asked) == {
        share.pk: "an announced corporate action of 2026-02-17 waits for the close before it"
    }  # fmt: skip
    assert doubts_about(feed, [share], 1, **(asked | {"bar_at": NOW - timedelta(hours=5)})) == {}
    assert complete_announced(now=NOW) == []
    close(feed, share, MONDAY, "600")
    assert [one.pk for one in complete_announced(now=NOW)] == [row.pk]
    assert complete_announced(now=NOW) == []
    row.refresh_from_db()
    assert (row.state, row.factor) == ("CONFIRMED", Decimal("0.95"))
    assert doubts_about(feed, [share], 1, **asked) == {}


def test_what_prices_had_shown_is_decided_by_it_and_comes_back_when_it_is_withdrawn(feed, share):
    found = [Suspicion(TUESDAY, 0.5, "SPLIT_OR_BONUS", "300 opened at 150")]
    suspect_actions(instrument=share, suspicions=found, source="day.csv", now=NOW)
    row = announce(share)
    assert (row.state, CorporateAction.objects.count()) == ("CONFIRMED", 1)
    for _ in range(2):
        withdraw_action(action_id=row.pk, actor="op", note="another company", now=NOW)
    row.refresh_from_db()
    assert (row.state, row.factor, row.note) == ("SUSPECTED", Decimal("0.5"), "300 opened at 150")
    assert AuditEntry.objects.filter(action="action.withdrawn").count() == 1


def test_prices_may_make_a_day_suspect_whose_announcement_was_withdrawn(share):
    row = announce(share)
    withdraw_action(action_id=row.pk, actor="op", note="a misprint", now=NOW)
    found = [Suspicion(TUESDAY, 0.5, "SPLIT_OR_BONUS", "300 opened at 150")]
    assert len(suspect_actions(instrument=share, suspicions=found, source="day.csv", now=NOW)) == 1
    with pytest.raises(NotAllowed):
        withdraw_action(action_id=row.pk, actor="op", note="x", now=NOW)


def test_a_preview_tells_the_factor_the_bars_and_what_speaks_against_it(feed, share):
    for back in range(4):
        close(feed, share, date(2026, 2, 10 + back), "300")
    close(feed, share, MONDAY, "300")
    close(feed, share, TUESDAY, "299")
    minutes = [Bar(share.symbol, at, *[Decimal(300)] * 4, 5) for at in session_on(MONDAY).bar_starts(1)]
    store_bars(feed, 1, minutes, IMPORT)
    seen = preview_action(instrument=share, ex_date=TUESDAY, terms=BONUS)
    assert seen.bars == (("NSE", 1, 375), ("NSE", 1440, 5))
    assert seen.days[0] == (MONDAY, Decimal(300), Decimal("200.00"))
    assert seen.is_new and "opened at 299" in seen.warnings[0]
    assert not CorporateAction.objects.exists()
    announce(share)
    assert not preview_action(instrument=share, ex_date=TUESDAY, terms=BONUS).is_new


def test_an_operator_sees_what_would_change_and_enters_it_with_a_second_press(client, feed, share):
    close(feed, share, MONDAY, "300")
    PositionFactory(instrument=share, net_quantity=7, cost_paise=210000)
    GroupFactory(instrument=share, state="ACTIVE", stop_price=Decimal("290"))
    deployed = DeploymentFactory()
    deployed.universe.members.create(instrument=share, from_date=date(2020, 1, 1))
    client.force_login(UserFactory(operator=True))
    page = "/console/marketdata/corporateaction/announce/"
    assert b"Show what would change" in client.get(page).content
    assert b"Announce an action" in client.get("/console/marketdata/corporateaction/").content
    given = {
        "symbol": "nse:aaa-eq", "ex_date": "2026-02-17", "form": "BONUS", "new": "1", "old": "2", "source": "circular",
    }  # fmt: skip
    told = client.post(page, given | {"look": "1"}).content.decode()
    assert "0.6666666667" in told and "200.00" in told and "stop 290" in told and "+7" in told
    assert str(deployed.universe) in told
    assert not CorporateAction.objects.exists()
    for _ in range(2):
        assert client.post(page, given | {"enter": "1"}).status_code == 302
    row = CorporateAction.objects.get()
    assert (row.state, row.decided_by != "") == ("CONFIRMED", True)
    assert b"BAD_TERMS" in client.post(page, given | {"form": "SPLIT", "old": "", "enter": "1"}).content
    assert b"No instrument has or had" in client.post(page, given | {"symbol": "NSE:ZZZ-EQ", "enter": "1"}).content
    decide = f"/console/marketdata/corporateaction/{row.pk}/decide/"
    asked = {"decision": "withdraw", "kind": "OTHER", "factor": "1", "source": "x", "note": "the wrong company"}
    assert client.post(decide, asked).status_code == 302
    row.refresh_from_db()
    assert row.state == "WITHDRAWN"
    client.force_login(UserFactory(is_staff=True))
    assert client.get(page).status_code == 403


def test_a_program_of_an_operator_previews_enters_and_withdraws(client, feed, share):
    close(feed, share, MONDAY, "300")
    wish = {"symbol": share.symbol, "ex_date": "2026-02-17", "form": "BONUS", "new": 1, "old": 2, "source": "paper"}

    def post(path: str, body: dict):
        return client.post(f"/api/v1/corporate-actions/{path}", json.dumps(body), content_type="application/json")

    client.force_login(UserFactory())
    assert post("", wish).status_code == 403 and not CorporateAction.objects.exists()
    client.force_login(UserFactory(operator=True))
    seen = post("", wish | {"preview": True}).json()
    assert seen["factor"] == "0.6666666667" and seen["bars"] == [{"feed": "NSE", "timeframe": 1440, "bars": 1}]
    assert not CorporateAction.objects.exists()
    made = post("", wish)
    assert made.status_code == 201 and made.json()["factor"] == "0.6666666667"
    assert post("", wish).json()["id"] == made.json()["id"]
    assert post("", wish | {"new": 2}).json()["code"] == "ACTION_KNOWN"
    assert post("", wish | {"old": None}).status_code == 400
    assert post("", wish | {"symbol": "NSE:NO-EQ"}).status_code == 404
    which = {"symbol": share.symbol, "ex_date": "2026-02-17", "note": "a misprint"}
    assert post("withdraw/", which).json()["state"] == "WITHDRAWN"
    assert post("withdraw/", which | {"ex_date": "2026-02-18"}).status_code == 404
    client.force_login(UserFactory())
    (row,) = client.get("/api/v1/corporate-actions/", {"symbol": share.symbol}).json()
    assert (row["state"], row["ex_date"]) == ("WITHDRAWN", "2026-02-17")


def test_the_command_does_the_same(feed, share):
    close(feed, share, MONDAY, "300")

    def run(*given: str) -> str:
        out = io.StringIO()
        call_command("corporate_action", *given, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    wish = ("announce", share.symbol, "--ex-date", "2026-02-17", "--bonus", "1:2", "--source", "circular 7")
    assert "0.6666666667" in run(*wish, "--dry-run") and not CorporateAction.objects.exists()
    run(*wish)
    assert "entered already" in run(*wish)
    assert "CONFIRMED bonus of 1 for 2 (circular 7)" in run("list", share.symbol)
    assert "withdrawn" in run("withdraw", share.symbol, "--ex-date", "2026-02-17", "--note", "a misprint")
    rights = run("announce", share.symbol, "--ex-date", "2026-02-17", "--rights", "1:4@200", "--source", "c", "--json")
    assert json.loads(rights)["terms"] == {"form": "RIGHTS", "new": 1, "old": 4, "amount": "200"}
    for wrong in (("--bonus", "1"), ("--bonus", "a:b"), ("--dividend", "x"), ()):
        with pytest.raises(CommandError):
            run("announce", share.symbol, "--ex-date", "2026-02-18", *wrong, "--source", "c")
    with pytest.raises(CommandError):
        run("announce", "NSE:NO-EQ", "--ex-date", "2026-02-18", "--bonus", "1:1", "--source", "c")
