"""Signing in: a page for the person, a token from the redirect, the token of the day. Source: Kite Connect, login."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode, urlsplit

from execution.brokers import fields
from execution.brokers.errors import AuthError, BusinessError, UnexpectedReply
from execution.brokers.http import HttpClient, Reply
from execution.brokers.kite import mapping
from execution.brokers.kite.credentials import Credentials, expires_at
from execution.brokers.kite.endpoints import Endpoints
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.port import CallClass, Profile, Tokens


@dataclass(frozen=True, slots=True)
class App:
    """An app as registered on the developer page, which also holds the address of the redirect."""

    api_key: str
    secret: str = field(repr=False)

    def checksum(self, token: str) -> str:
        """Proof of the secret: hex SHA-256 of key, token and secret, one after another."""
        return hashlib.sha256(f"{self.api_key}{token}{self.secret}".encode()).hexdigest()


class KiteLogin:
    """The two steps, and the check that they led to the right person."""

    def __init__(self, *, endpoints: Endpoints, app: App) -> None:
        self._endpoints = endpoints
        self._app = app

    def login_url(self, state: str) -> str:
        """Where to send the person. `state` comes back with the request token and must be compared."""
        query = {"api_key": self._app.api_key, "v": 3, "redirect_params": urlencode({"state": state})}
        return f"{self._endpoints.login}?{urlencode(query)}"

    def read_callback(self, callback: str, *, state: str) -> str:
        """The request token in a callback (whole address or query string). AuthError if it was not ours."""
        query = urlsplit(callback).query if "://" in callback or callback.startswith("/") else callback.lstrip("?")
        given = {name: values[0] for name, values in parse_qs(query).items()}
        if not state or not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
            raise AuthError("LOGIN_STATE_MISMATCH", "This sign-in was not started here.")
        if given.get("status", "success") != "success" or not given.get("request_token"):
            raise AuthError("LOGIN_DECLINED", given.get("message") or "The broker did not grant access.")
        return given["request_token"]

    def exchange(self, code: str) -> Tokens:
        """The request token for the token of the day. Sent once: it is good for one use. AuthError if it is not."""
        http = HttpClient(
            headers={"x-kite-version": "3", "content-type": "application/x-www-form-urlencoded"},
            idle_s=self._endpoints.idle_s,
        )
        body = mapping.encode(
            {"api_key": self._app.api_key, "request_token": code, "checksum": self._app.checksum(code)}
        )
        try:
            reply = http.send_once("POST", f"{self._endpoints.api}/session/token", body, klass=CallClass.READ)
        finally:
            http.close()
        return _read_tokens(reply)

    def credentials(self, tokens: Tokens) -> Credentials:
        return Credentials(self._app.api_key, tokens.access_token)

    def whose(self, tokens: Tokens) -> Profile:
        """Ask the broker who these tokens belong to; the proof that they work."""
        gateway = KiteGateway(endpoints=self._endpoints, credentials=self.credentials(tokens))
        try:
            return gateway.profile()
        finally:
            gateway.close()


def _read_tokens(reply: Reply) -> Tokens:
    try:
        data = fields.row(mapping.open_envelope(reply), "session")
    except BusinessError as error:
        failure = AuthError("LOGIN_DECLINED", error.message)
    else:
        access = fields.identity(data, "access_token")
        refresh = fields.text(data, "refresh_token", default="") or None
        stamped = fields.text(data, "login_time", default="")
        signed_in_at = fields.local_time(stamped) if stamped else datetime.now(UTC)
        return Tokens(access_token=access, refresh_token=refresh, expires_at=expires_at(signed_in_at))
    raise failure


def sign_in_sandbox(*, endpoints: Endpoints, app: App) -> Tokens:
    """Sign in where the page approves by itself. ValueError anywhere but at plain http on this machine."""
    if not endpoints.is_loopback:
        raise ValueError("only a sandbox on this machine lets anybody in without a person")
    login = KiteLogin(endpoints=endpoints, app=app)
    state = secrets.token_urlsafe(16)
    http = HttpClient(idle_s=endpoints.idle_s)
    try:
        reply = http.read("GET", login.login_url(state), understand=lambda reply: reply)
    finally:
        http.close()
    if reply.status not in (302, 303, 307, 308) or "location" not in reply.headers:
        raise UnexpectedReply(f"sign-in: HTTP {reply.status}, no redirect.", status=reply.status)
    return login.exchange(login.read_callback(reply.headers["location"], state=state))
