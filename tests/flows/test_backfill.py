"""A backfill from the wish at the API, over a worker and real HTTP, to candles; and the command that does it."""

import io
import json
from datetime import date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from accounts.secrets import seal
from execution.backfills import work_on_backfills
from tests.factories import BrokerAccountFactory, UserFactory
from tests.factories.market import InstrumentFactory, UniverseFactory
from tests.factories.world import open_feed
from trading.audit.models import AuditEntry
from trading.domain.clock import IST
from trading.marketdata.candles import candles_of
from trading.marketdata.models import Backfill, UniverseMember
from trading.venue.sessions import session_on

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.parametrize("sandbox", [("--stepped", "--seed", "7", "--start", "2026-11-20T09:15")], indirect=True),
]
FRIDAY = datetime(2026, 11, 20, 9, 16, tzinfo=IST)
WISH = {"symbols": ["NSE:SBIN-EQ"], "from_date": "2026-11-16", "to_date": "2026-11-19"}


@pytest.fixture
def account(sandbox, valkey):
    """Somebody's account at the exchange, not signed in yet."""
    open_feed(at=FRIDAY)
    for symbol in ("NSE:SBIN-EQ", "NSE:TCS-EQ", "NSE:NOBODY-EQ"):
        InstrumentFactory(symbol=symbol)
    owner = UserFactory()
    return BrokerAccountFactory(
        owner=owner, base_url=sandbox.base_url, app_id="SANDBOX001-100", auth_state="UNKNOWN", access_token_sealed=None,
        app_secret_sealed=seal("sandbox-secret", owner_id=owner.pk, purpose="app_secret"),
    )  # fmt: skip


@pytest.fixture
def program(account) -> Client:
    _, token = issue(owner=account.owner, name="bot", scope="trade", now=timezone.now())
    return Client(headers={"authorization": f"Bearer {token}"})


def minutes_of(symbol: str, day: date) -> int:
    session, row = session_on(day), Backfill.objects.first()
    share = InstrumentFactory(symbol=symbol)
    return len(candles_of(row.feed, share, row.timeframe, start=session.opens_at, end=session.closes_at))


def test_a_wish_becomes_candles(program, account):
    asked = program.post("/api/v1/backfills/", WISH, content_type="application/json")
    assert asked.status_code == 201, asked.content
    again = program.post("/api/v1/backfills/", WISH, content_type="application/json")
    assert (again.status_code, again.json()["id"]) == (200, asked.json()["id"])
    assert asked.json()["state"] == "QUEUED" and asked.json()["seconds_left"] is None
    assert work_on_backfills() == 1
    told = program.get(f"/api/v1/backfills/{asked.json()['id']}/").json()
    assert (told["state"], told["percent"], told["calls"], told["saved"], told["failed"]) == ("DONE", 100, 1, 0, {})
    assert told["stored"] == told["bars"] == 4 * 360 and told["bars_per_s"] > 0
    assert minutes_of("NSE:SBIN-EQ", date(2026, 11, 18)) == 360  # they close by auction
    assert [row["id"] for row in program.get("/api/v1/backfills/", {"state": "DONE"}).json()["results"]] == [told["id"]]
    (saved,) = program.get("/api/v1/calls-saved/").json()
    assert (saved["feed"], saved["needed"], saved["calls"]) == ("sandbox", 1, 1)
    assert AuditEntry.objects.filter(action="backfill.asked").count() == 2

    repeated = program.post("/api/v1/backfills/", WISH, content_type="application/json").json()
    work_on_backfills()
    told = program.get(f"/api/v1/backfills/{repeated['id']}/").json()
    assert (told["calls"], told["saved"], told["stored"]) == (0, 1, 0)


def test_a_universe_day_by_day_and_one_that_nobody_knows(program, account):
    universe = UniverseFactory(name="few")
    for symbol in ("NSE:SBIN-EQ", "NSE:NOBODY-EQ"):
        UniverseMember.objects.create(
            universe=universe, instrument=InstrumentFactory(symbol=symbol), from_date=date(2020, 1, 1)
        )
    wish = {"universe": "few", "timeframe": 1440, "from_date": "2026-11-09", "to_date": "2026-11-13"}
    assert program.post("/api/v1/backfills/", wish, content_type="application/json").status_code == 201
    work_on_backfills()
    row = Backfill.objects.get()
    assert (row.state, row.stored, list(row.failed)) == ("DONE", 4, ["NSE:NOBODY-EQ"])
    found = candles_of(
        row.feed, InstrumentFactory(symbol="NSE:SBIN-EQ"), 1440, start=FRIDAY - timedelta(days=30), end=FRIDAY
    )
    assert {bar.started_at.astimezone(IST).strftime("%H:%M") for bar in found} == {"09:15"}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"symbols": ["NSE:STRANGER-EQ"]}, 404), ({"symbols": [], "universe": "nowhere"}, 404), ({"symbols": []}, 422),
        ({"timeframe": 7}, 400), ({"from_date": "2026-11-30"}, 422), ({"from_date": "yesterday"}, 400),
        ({"account": 987654}, 404), ({"colour": "blue"}, 400),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(program, wish, code):
    reply = program.post("/api/v1/backfills/", WISH | wish, content_type="application/json")
    assert reply.status_code == code, reply.content
    assert reply["content-type"].startswith("application/problem+json") and not Backfill.objects.exists()


def test_a_key_that_may_only_read_starts_nothing(account):
    _, token = issue(owner=account.owner, name="reader", now=timezone.now())
    reader = Client(headers={"authorization": f"Bearer {token}"})
    assert reader.post("/api/v1/backfills/", WISH, content_type="application/json").status_code == 403
    assert reader.get("/api/v1/backfills/").status_code == 200


def test_a_cancelled_one_is_not_worked_on(program):
    row = program.post("/api/v1/backfills/", WISH, content_type="application/json").json()
    assert program.post(f"/api/v1/backfills/{row['id']}/cancel/").json()["state"] == "CANCELLED"
    assert program.post(f"/api/v1/backfills/{row['id']}/cancel/").json()["state"] == "CANCELLED"
    assert work_on_backfills() == 0


def test_a_broker_that_cannot_be_signed_in_to_fails_the_backfill_and_says_why(program, account):
    account.app_secret_sealed = seal("wrong", owner_id=account.owner_id, purpose="app_secret")
    account.save()
    program.post("/api/v1/backfills/", WISH, content_type="application/json")
    work_on_backfills()
    row = Backfill.objects.get()
    assert row.state == "FAILED" and row.error and "wrong" not in row.error


def test_the_command_fetches_shows_and_goes_on(account):
    out = io.StringIO()
    given = ["NSE:SBIN-EQ", "NSE:TCS-EQ", "--from", "2026-11-17", "--to", "2026-11-18"]
    call_command("backfill", *given, "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["state"], told["instruments"], told["stored"], told["calls"]) == ("DONE", 2, 4 * 360, 2)
    out = io.StringIO()
    call_command("backfill", *given, stdout=out)
    assert "done, 100 %, 2 of 2 instruments, 0 bars new, 0 calls, 2 saved" in out.getvalue()
    out = io.StringIO()
    call_command("backfill", *given[1:], "--queue", stdout=out)
    queued = out.getvalue().split()[0]
    call_command("backfill", "--cancel", queued, stdout=out)
    call_command("backfill", "--list", stdout=out)
    assert "cancelled" in out.getvalue() and out.getvalue().count("done, 100 %") == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [(["NSE:SBIN-EQ"], "NO_RANGE"), (["NSE:STRANGER-EQ", "--from", "2026-11-17"], "UNKNOWN_INSTRUMENT"),
     (["--from", "2026-11-17"], "NOTHING_TO_FETCH"), (["--account", "9999", "--from", "2026-11-17"], "NO_ACCOUNT")],
)  # fmt: skip
def test_a_command_that_makes_no_sense_says_so(account, given, code):
    with pytest.raises(CommandError, match=code) as told:
        call_command("backfill", *given)
    assert told.value.returncode == 2
    assert not Backfill.objects.exists()
