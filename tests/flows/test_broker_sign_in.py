"""Signing in at a broker, over the real sandbox: there, back, and everything that must not open an account."""

import hashlib
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import BrokerAccount, BrokerLogin
from accounts.secrets import key_of
from execution.brokers.errors import AuthError
from execution.brokers.login import check_sign_in, login_begin
from execution.brokers.registry import app_secret_of, refuse_a_second, token_of
from execution.models import EngineLease
from tests.factories import PASSWORD, BrokerAccountFactory, UserFactory
from trading.audit.models import AuditEntry
from trading.outbox import nudge_stream

pytestmark = pytest.mark.django_db
APP, SECRET, USER = "SIGNINTEST-100", "sign-in-secret", "XL00001"
State = BrokerAccount.AuthState


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    from tests.contract.conftest import sandbox

    where = tmp_path_factory.mktemp("sandbox")
    with sandbox(where, "--app", f"{APP}:{SECRET}:{USER}:1000000", "--redirect-uri", CALLBACK) as url:
        yield url


CALLBACK = "http://testserver/broker/callback/"


@pytest.fixture
def person(client: Client):
    """Signed in, and asked for the password once more a moment ago."""
    user = UserFactory(username="meera")
    client.post("/account/login/", {"login": "meera", "password": PASSWORD})
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    return user


def link(client: Client, exchange: str, broker: str = "FYERS", **changes) -> BrokerAccount:
    given = {"name": f"My {broker}", "broker": broker, "environment": "SANDBOX", "app_id": APP, "secret": SECRET}
    answer = client.post("/settings/brokers/link/", given | changes, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers.get("HX-Redirect")) == (204, "/settings/brokers/"), answer.content
    BrokerAccount.objects.update(base_url=exchange)
    return BrokerAccount.objects.get()


def at_the_broker(client: Client, account: BrokerAccount) -> str:
    """Press the button, let the broker's page approve, and return the way back: path and query."""
    answer = client.post(f"/settings/brokers/{account.pk}/sign-in/", headers={"HX-Request": "true"})
    assert answer.status_code == 204
    back = httpx.get(answer.headers["HX-Redirect"])
    assert back.status_code == 302, back.text
    parts = urlsplit(back.headers["location"])
    return f"{parts.path}?{parts.query}"


@pytest.mark.parametrize("broker", ["FYERS", "ZERODHA"])
def test_there_and_back(client, person, exchange, broker):
    account = link(client, exchange, broker)
    assert account.auth_state == State.NEEDS_LOGIN and SECRET.encode() not in bytes(account.app_secret_sealed)
    answer = client.get(at_the_broker(client, account))
    assert answer.status_code == 302 and answer.headers["location"].startswith("/settings/brokers/"), answer.content
    account.refresh_from_db()
    assert (account.auth_state, account.broker_user_id) == (State.AUTHENTICATED, USER)
    assert account.token_expires_at > timezone.now() and account.validated_at is not None
    assert token_of(account).encode() not in bytes(account.access_token_sealed)
    assert check_sign_in(account) is True
    page = client.get("/settings/brokers/").content.decode()
    assert "Authenticated" in page and token_of(account) not in page and SECRET not in page
    assert BrokerLogin.objects.get().outcome == "AUTHENTICATED"
    told = " ".join(str(entry.detail) for entry in AuditEntry.objects.all())
    assert token_of(account) not in told and SECRET not in told


def test_an_answer_is_good_once(client, person, exchange):
    account = link(client, exchange)
    back = at_the_broker(client, account)
    assert client.get(back).status_code == 302
    again = client.get(back)
    assert again.status_code == 422 and b"LOGIN_STATE_MISMATCH" in again.content


def test_an_answer_of_another_session_of_the_same_person_opens_nothing(client, person, exchange):
    account = link(client, exchange)
    back = at_the_broker(client, account)
    elsewhere = Client()
    elsewhere.force_login(person)
    assert b"LOGIN_STATE_MISMATCH" in elsewhere.get(back).content
    account.refresh_from_db()
    assert account.auth_state == State.NEEDS_LOGIN and account.access_token_sealed is None


def test_an_answer_that_another_person_brings_opens_nothing(client, person, exchange):
    account = link(client, exchange)
    back = at_the_broker(client, account)
    other = Client()
    other.force_login(UserFactory())
    assert b"LOGIN_STATE_MISMATCH" in other.get(back).content
    account.refresh_from_db()
    assert account.access_token_sealed is None


def test_an_answer_that_comes_too_late_opens_nothing(client, person, exchange):
    account = link(client, exchange)
    back = at_the_broker(client, account)
    BrokerLogin.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert b"LOGIN_STATE_MISMATCH" in client.get(back).content


@pytest.mark.parametrize("query", ["", "state=", "state=x&auth_code=y", "auth_code=y&state=" + "x" * 9000, "%00=%ff"])
def test_nonsense_is_told_so(client, person, query):
    answer = client.get(f"/broker/callback/?{query}")
    assert answer.status_code == 422 and b"LOGIN_" in answer.content


def test_a_code_that_the_broker_does_not_know_leaves_the_account_as_it_was(client, person, exchange):
    account = link(client, exchange)
    parts = urlsplit(at_the_broker(client, account))
    forged = dict(parse_qsl(parts.query)) | {"auth_code": "a.b.c"}
    answer = client.get(f"{parts.path}?{urlencode(forged)}")
    assert answer.status_code == 422 and b"LOGIN_DECLINED" in answer.content
    account.refresh_from_db()
    assert account.auth_state == State.NEEDS_LOGIN
    assert BrokerLogin.objects.get().outcome == "LOGIN_DECLINED"


def test_another_client_of_the_broker_does_not_take_an_account_over(client, person, exchange):
    account = link(client, exchange)
    BrokerAccount.objects.update(broker_user_id="ZZ99999")
    answer = client.get(at_the_broker(client, account))
    assert answer.status_code == 422 and b"OTHER_PERSON" in answer.content
    account.refresh_from_db()
    assert account.access_token_sealed is None


def test_a_client_of_a_broker_is_one_live_account_of_the_desk(db):
    """Two engines for one client would spend twice its rate, and each take the other's orders for a stranger's."""
    live = {"environment": "LIVE", "feed": "NSE", "base_url": ""}
    first = BrokerAccountFactory(broker_user_id="XA00001", **live)
    second = BrokerAccountFactory(**live)
    refuse_a_second(first, "XA00001")
    refuse_a_second(BrokerAccountFactory(), "XA00001")
    with pytest.raises(AuthError) as told:
        refuse_a_second(second, "XA00001")
    assert told.value.code == "ALREADY_LINKED"
    with pytest.raises(IntegrityError):
        BrokerAccount.objects.filter(pk=second.pk).update(broker_user_id="XA00001")


def test_signing_out_leaves_no_token(client, person, exchange):
    account = link(client, exchange)
    client.get(at_the_broker(client, account))
    assert client.post(f"/settings/brokers/{account.pk}/forget/").status_code == 200
    account.refresh_from_db()
    assert account.access_token_sealed is None and account.auth_state == State.NEEDS_LOGIN


def test_a_token_that_the_broker_has_ended_is_found_by_the_check(client, person, exchange):
    account = link(client, exchange)
    client.get(at_the_broker(client, account))
    account.refresh_from_db()
    header = {"authorization": f"{APP}:{token_of(account)}"}
    assert httpx.post(f"{exchange}/api/v3/logout", headers=header).status_code == 200
    assert check_sign_in(account) is False
    account.refresh_from_db()
    assert account.auth_state == State.EXPIRED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": " "}, "ACCOUNT_NAME"),
        ({"broker": "UPSTOX"}, "ACCOUNT_BROKER"),
        ({"environment": "MOON"}, "ACCOUNT_BROKER"),
        ({"app_id": ""}, "ACCOUNT_APP"),
        ({"secret": "x" * 300}, "ACCOUNT_APP"),
    ],
)
def test_what_is_no_account_is_not_linked(client, person, change, code):
    given = {"name": "Mine", "broker": "FYERS", "environment": "LIVE", "app_id": APP, "secret": SECRET} | change
    answer = client.post("/settings/brokers/link/", given, headers={"HX-Request": "true"})
    assert answer.status_code == 422 and code.encode() in answer.content
    assert not BrokerAccount.objects.exists()


def test_linking_asks_for_the_password_again_when_it_was_long_ago(client):
    user = UserFactory()
    client.force_login(user)
    answer = client.get("/settings/brokers/link/", headers={"HX-Request": "true"})
    assert "reauthenticate" in answer.headers["HX-Redirect"]


# -- postbacks -----------------------------------------------------------------------------------------------------


def postback(client, account, **said) -> int:
    where = reverse("api_postback", args=[account.postback_key])
    return client.post(where, said, content_type="application/json").status_code


def rung(valkey, account) -> int:
    return sum(b"engine.books" in str(entry).encode() for entry in valkey.xrange(nudge_stream(account.pk)))


def test_a_signed_postback_makes_the_engine_read_the_books(
    client, person, exchange, valkey, django_capture_on_commit_callbacks
):
    account = link(client, exchange, "ZERODHA")
    order, at = "251120000000123", "2025-11-20 09:31:07"
    proof = hashlib.sha256(f"{order}{at}{app_secret_of(account)}".encode()).hexdigest()
    said = {"order_id": order, "order_timestamp": at, "status": "COMPLETE", "filled_quantity": 10_000}
    for checksum, status in ((proof, 204), ("0" * 64, 404), (None, 404), (17, 404)):
        with django_capture_on_commit_callbacks(execute=True):
            assert postback(client, account, **said, checksum=checksum) == status
    assert rung(valkey, account) == 1
    assert not EngineLease.objects.exists()


def test_a_postback_to_an_address_that_is_nobodys_is_not_found(client, db):
    assert client.post("/api/v1/postbacks/nobody/", {}, content_type="application/json").status_code == 404


# -- keys ----------------------------------------------------------------------------------------------------------


def test_secrets_move_to_a_new_key_while_the_desk_runs(client, person, exchange, settings, capsys):
    account = link(client, exchange)
    client.get(at_the_broker(client, account))
    account.refresh_from_db()
    token = token_of(account)
    settings.DATA_KEYS = {"k2": bytes(range(32, 64)), **settings.DATA_KEYS}
    call_command("rotate_secrets")
    account.refresh_from_db()
    assert key_of(account.app_secret_sealed) == key_of(account.access_token_sealed) == "k2"
    settings.DATA_KEYS = {"k2": settings.DATA_KEYS["k2"]}
    assert (token_of(account), app_secret_of(account)) == (token, SECRET)
    assert "1 broker account sealed" in capsys.readouterr().out
    call_command("rotate_secrets")
    assert "nothing" in capsys.readouterr().out


def test_a_browsers_secret_word_never_reaches_the_rows(client, person, exchange):
    account = link(client, exchange)
    where = login_begin(account=account, user=person, session_key="a-session", redirect_uri=CALLBACK)
    state = dict(parse_qsl(urlsplit(where).query))["state"]
    row = BrokerLogin.objects.get()
    assert state not in str(row.__dict__) and "a-session" not in str(row.__dict__)
