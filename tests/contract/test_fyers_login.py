"""Signing in: the address, the way back, the exchange, and who it was."""

import hashlib
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from execution.brokers.errors import AuthError, UnexpectedReply
from execution.brokers.fyers.credentials import Credentials, expires_at
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.login import App, FyersLogin, sign_in_sandbox
from tests.contract.samples import TOKEN, jwt
from tests.contract.small_server import answer, serving

APP = App("ABCDEFGHIJ-100", "SECRET", "https://desk.example/cb?x=1")
GRANTED = json.dumps({"s": "ok", "code": 200, "message": "", "access_token": TOKEN, "refresh_token": "r.e.f"})


def login_at(url: str) -> FyersLogin:
    return FyersLogin(endpoints=Endpoints.of(url), app=APP)


def test_the_person_is_sent_to_the_broker_with_our_state():
    url = urlsplit(FyersLogin(endpoints=Endpoints.live(), app=APP).login_url("k3v9"))
    assert (url.scheme, url.netloc, url.path) == ("https", "api-t1.fyers.in", "/api/v3/generate-authcode")
    assert parse_qs(url.query) == {
        "client_id": [APP.app_id],
        "redirect_uri": [APP.redirect_uri],
        "response_type": ["code"],
        "state": ["k3v9"],
    }


@pytest.mark.parametrize(
    "callback",
    [
        "https://desk.example/cb?s=ok&code=200&auth_code=abc&state=k3v9",
        "s=ok&auth_code=abc&state=k3v9",
        "/cb?auth_code=abc&state=k3v9",
    ],
)
def test_the_way_back_carries_a_code(callback):
    assert login_at("http://127.0.0.1:1").read_callback(callback, state="k3v9") == "abc"


@pytest.mark.parametrize(
    ("callback", "state", "code"),
    [
        ("s=ok&auth_code=abc&state=other", "k3v9", "LOGIN_STATE_MISMATCH"),
        ("s=ok&auth_code=abc", "k3v9", "LOGIN_STATE_MISMATCH"),
        ("s=ok&auth_code=abc&state=", "", "LOGIN_STATE_MISMATCH"),
        ("s=error&message=denied&state=k3v9", "k3v9", "LOGIN_DECLINED"),
        ("s=ok&state=k3v9", "k3v9", "LOGIN_DECLINED"),
    ],
)
def test_a_way_back_that_is_not_ours_opens_nothing(callback, state, code):
    with pytest.raises(AuthError) as refused:
        login_at("http://127.0.0.1:1").read_callback(callback, state=state)
    assert refused.value.code == code


def test_the_app_proves_its_secret_by_a_hash():
    assert APP.hash == "a584be33609adba1b8653bc000602b93a0d35f5a47a8cc69084dc79d91a62385"
    assert APP.hash == hashlib.sha256(b"ABCDEFGHIJ-100:SECRET").hexdigest()
    assert "SECRET" not in repr(APP)


def test_a_code_is_exchanged_once_for_the_tokens_of_the_day():
    with serving(answer(GRANTED)) as server:
        tokens = login_at(server.url).exchange("abc")
    (sent,) = server.requests
    assert json.loads(sent.partition(b"\r\n\r\n")[2]) == {
        "grant_type": "authorization_code", "appIdHash": APP.hash, "code": "abc",
    }  # fmt: skip
    assert (tokens.access_token, tokens.refresh_token) == (TOKEN, "r.e.f")
    assert tokens.expires_at == datetime.fromtimestamp(1763685000, UTC)
    assert TOKEN not in repr(tokens) and "r.e.f" not in repr(tokens)


def test_a_spent_code_is_a_matter_of_access():
    with serving(answer('{"s":"error","code":-437,"message":"invalid auth code"}', status=400)) as server:
        with pytest.raises(AuthError):
            login_at(server.url).exchange("abc")
    with serving(answer('{"s":"ok","code":200}')) as server:
        with pytest.raises(UnexpectedReply):
            login_at(server.url).exchange("abc")


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "a.!!.c", jwt(exp="soon"), jwt(exp=True), jwt(exp=10**20), jwt()]
)
def test_a_token_that_cannot_be_read_is_refused(token):
    with pytest.raises(AuthError):
        expires_at(token)


def test_the_price_sockets_key_is_a_claim_of_the_token():
    assert Credentials("A-100", TOKEN).hsm_key == "ab" * 28
    with pytest.raises(AuthError):
        Credentials("A-100", jwt(exp=1763685000)).hsm_key  # noqa: B018


@pytest.mark.parametrize("base", ["https://127.0.0.1:1", "http://sandbox.example"])
def test_nobody_is_let_in_without_a_person_away_from_home(base):
    with pytest.raises(ValueError):
        sign_in_sandbox(endpoints=Endpoints.of(base), app=APP)
    with pytest.raises(ValueError):
        sign_in_sandbox(endpoints=Endpoints.live(), app=APP)


def test_a_page_that_does_not_redirect_is_no_sign_in():
    with serving(answer("<html>who are you?</html>")) as server:
        with pytest.raises(UnexpectedReply):
            sign_in_sandbox(endpoints=Endpoints.of(server.url), app=APP)


def test_addresses_follow_one_base():
    here = Endpoints.of("http://127.0.0.1:7401/")
    assert here.orders == "http://127.0.0.1:7401/api/v3/orders/sync"
    assert here.order_socket == "ws://127.0.0.1:7401/trade/v3"
    assert here.price_socket == "ws://127.0.0.1:7401/hsm/v1-5/prod"
    assert here.is_loopback and not Endpoints.live().is_loopback
    with pytest.raises(ValueError):
        Endpoints.of("127.0.0.1:7401")
