"""Signing in: a page for the person, a code from the redirect, tokens for the day. Source: FYERS API v3, login."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from execution.brokers import fields
from execution.brokers.errors import AuthError, BusinessError, UnexpectedReply
from execution.brokers.fyers import mapping
from execution.brokers.fyers.credentials import Credentials, expires_at
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.http import HttpClient, Reply
from execution.brokers.port import CallClass, Profile, Tokens


@dataclass(frozen=True, slots=True)
class App:
    """An app as registered with the broker. The redirect address must be the registered one, to the letter."""

    app_id: str
    secret: str = field(repr=False)
    redirect_uri: str

    @property
    def hash(self) -> str:
        """Proof of the secret: hex SHA-256 of `app_id:secret`."""
        return hashlib.sha256(f"{self.app_id}:{self.secret}".encode()).hexdigest()


class FyersLogin:
    """The two steps, and the check that they led to the right person."""

    def __init__(self, *, endpoints: Endpoints, app: App) -> None:
        self._endpoints = endpoints
        self._app = app

    def login_url(self, state: str) -> str:
        """Where to send the person. `state` comes back with the code and must be compared."""
        query = {
            "client_id": self._app.app_id,
            "redirect_uri": self._app.redirect_uri,
            "response_type": "code",
            "state": state,
        }
        return f"{self._endpoints.api}/generate-authcode?{urlencode(query)}"

    def read_callback(self, callback: str, *, state: str) -> str:
        """The authorization code in a callback (whole address or query string). AuthError if it was not ours."""
        query = urlsplit(callback).query if "://" in callback or callback.startswith("/") else callback.lstrip("?")
        given = {name: values[0] for name, values in parse_qs(query).items()}
        if not state or not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
            raise AuthError("LOGIN_STATE_MISMATCH", "This sign-in was not started here.")
        if given.get("s", "ok") != "ok" or not given.get("auth_code"):
            raise AuthError("LOGIN_DECLINED", given.get("message") or "The broker did not grant access.")
        return given["auth_code"]

    def exchange(self, code: str) -> Tokens:
        """The code for the tokens of the day. Sent once: a code is good for one use. AuthError if it is not."""
        http = HttpClient(headers={"content-type": "application/json"}, idle_s=self._endpoints.idle_s)
        body = mapping.encode({"grant_type": "authorization_code", "appIdHash": self._app.hash, "code": code})
        try:
            reply = http.send_once("POST", f"{self._endpoints.api}/validate-authcode", body, klass=CallClass.READ)
        finally:
            http.close()
        return _read_tokens(reply)

    def credentials(self, tokens: Tokens) -> Credentials:
        return Credentials(self._app.app_id, tokens.access_token)

    def whose(self, tokens: Tokens) -> Profile:
        """Ask the broker who these tokens belong to; the proof that they work."""
        gateway = FyersGateway(endpoints=self._endpoints, credentials=self.credentials(tokens))
        try:
            return gateway.profile()
        finally:
            gateway.close()


def _read_tokens(reply: Reply) -> Tokens:
    try:
        body = mapping.open_envelope(reply)
    except BusinessError as error:
        failure = AuthError("LOGIN_DECLINED", error.message)
    else:
        access = fields.identity(body, "access_token")
        refresh = fields.text(body, "refresh_token", default="") or None
        return Tokens(access_token=access, refresh_token=refresh, expires_at=expires_at(access))
    raise failure


def sign_in_sandbox(*, endpoints: Endpoints, app: App) -> Tokens:
    """Sign in where the page approves by itself. ValueError anywhere but at plain http on this machine."""
    if not endpoints.is_loopback:
        raise ValueError("only a sandbox on this machine lets anybody in without a person")
    login = FyersLogin(endpoints=endpoints, app=app)
    state = secrets.token_urlsafe(16)
    http = HttpClient(idle_s=endpoints.idle_s)
    try:
        reply = http.read("GET", login.login_url(state), understand=lambda reply: reply)
    finally:
        http.close()
    if reply.status not in (302, 303, 307, 308) or "location" not in reply.headers:
        raise UnexpectedReply(f"sign-in: HTTP {reply.status}, no redirect.", status=reply.status)
    return login.exchange(login.read_callback(reply.headers["location"], state=state))
