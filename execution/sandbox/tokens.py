"""Sign-in of the sandbox: JWTs as the broker issues them, and the data-socket key inside.

Tokens outlive a restart because the signing key lies in the state folder; nothing else is stored.
Lifetimes are in real time: an access token dies at 06:00 IST.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from execution.sandbox.calendar import IST

AUTH_CODE_S = 300
LEAST_LIFE = timedelta(hours=6)
# {"typ":"JWT","alg":"HS256"}: the official client needs a header of 36 characters
JWT_HEADER = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"


@dataclass(frozen=True)
class App:
    """A registered application of one user. `cash` is what a new user starts with, rupees."""

    id: str
    secret: str
    user: str
    cash: int

    @property
    def hash(self) -> str:
        return hashlib.sha256(f"{self.id}:{self.secret}".encode()).hexdigest()


DEFAULT_APP = App("SANDBOX001-100", "sandbox-secret", "XS00001", 1_000_000)


def parse_app(text: str) -> App:
    """`ID:SECRET:USER:CASH`; ValueError if the form is wrong. The id is ten letters or digits, a dash and a type."""
    parts = text.split(":")
    if len(parts) != 4:
        raise ValueError(f"--app wants ID:SECRET:USER:CASH, not {text!r}")
    app_id, secret, user, cash = parts
    head, _, kind = app_id.partition("-")
    if not (len(head) == 10 and head.isalnum() and kind in ("100", "102")):
        raise ValueError(f"app id {app_id!r} must be ten letters or digits, then -100")
    if not secret or not user.isalnum() or not cash.isdigit():
        raise ValueError(f"--app wants a secret, an alphanumeric user and whole rupees, not {text!r}")
    return App(app_id, secret, user, int(cash))


def expiry_after(now: float) -> int:
    """The next 06:00 IST that is at least six hours away, epoch seconds."""
    earliest = datetime.fromtimestamp(now, UTC).astimezone(IST) + LEAST_LIFE
    six = earliest.replace(hour=6, minute=0, second=0, microsecond=0)
    return int((six if six >= earliest else six + timedelta(days=1)).timestamp())


class BadToken(Exception):
    """A token that proves nothing. `expired` tells a stale one from a wrong one."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("expired" if expired else "invalid")
        self.expired = expired


class TokenDesk:
    """Issues and reads tokens of the registered apps. Each of an app's `logouts` makes its older tokens worthless."""

    def __init__(self, *, folder: Path, apps: list[App], logouts: dict[str, int]) -> None:
        self.apps = {app.id: app for app in apps}
        self.logouts = logouts
        self._used_codes: dict[str, float] = {}
        path = folder / "signing.key"
        try:
            self._key = path.read_bytes()
        except FileNotFoundError:
            self._key = secrets.token_bytes(32)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(self._key)

    def auth_code(self, app: App, *, nonce: str, challenge: str, now: float) -> str:
        return self._sign(
            {
                "iss": "api.login.fyers.in",
                "sub": "auth_code",
                "iat": int(now),
                "nbf": int(now),
                "exp": int(now) + AUTH_CODE_S,
                "aud": ["x:0", "x:1", "x:2", "d:1", "d:2"],
                "app_id": app.id.split("-")[0],
                "client_id": app.id,
                "display_name": app.user,
                "nonce": nonce,
                "uuid": secrets.token_hex(8),
                "scope": "",
                "code_challenge": challenge,
            }
        )

    def exchange(self, code: str, *, app_id_hash: str | None, verifier: str | None, now: float) -> str:
        """An access token for an auth code, once. BadToken if the code or the proof of the secret is wrong."""
        claims = self._read(code, now=now)
        app = self.apps.get(claims.get("client_id", ""))
        if app is None or claims.get("sub") != "auth_code" or claims["uuid"] in self._used_codes:
            raise BadToken
        challenge = claims.get("code_challenge") or ""
        by_secret = bool(app_id_hash) and hmac.compare_digest(str(app_id_hash).encode(), app.hash.encode())
        by_proof = bool(challenge and verifier) and hashlib.sha256(str(verifier).encode()).hexdigest() == challenge
        if not by_secret and not by_proof:
            raise BadToken
        self._used_codes = {used: until for used, until in self._used_codes.items() if until > now}
        self._used_codes[claims["uuid"]] = float(claims["exp"])
        return self.access_token(app, now=now)

    def access_token(self, app: App, *, now: float) -> str:
        expires = expiry_after(now)
        return self._sign(
            {
                "iss": "api.fyers.in",
                "sub": "access_token",
                "iat": int(now),
                "nbf": int(now),
                "exp": expires,
                "aud": ["x:0", "x:1", "x:2", "d:1", "d:2"],
                "fy_id": app.user,
                "appType": int(app.id.split("-")[1]),
                "hsm_key": self._hsm_key(app.id, expires),
                "at_hash": secrets.token_hex(16),
                "display_name": app.user,
                "oms": "K1",
                "poa_flag": "N",
                "client_id": app.id,
                "ses": self.logouts.get(app.id, 0),
            }
        )

    def app_of_header(self, header: str, *, now: float) -> App:
        """Who sends `Authorization: <app_id>:<access_token>`."""
        app_id, _, token = header.partition(":")
        app = self.app_of_token(token, now=now)
        if app.id != app_id:
            raise BadToken
        return app

    def app_of_token(self, token: str, *, now: float) -> App:
        claims = self._read(token, now=now)
        app = self.apps.get(claims.get("client_id", ""))
        if app is None or claims.get("sub") != "access_token" or claims.get("ses") != self.logouts.get(app.id, 0):
            raise BadToken
        return app

    def app_of_hsm_key(self, key: str, *, now: float) -> App:
        """Who authenticates on the data socket: every key that a live token may carry is recomputed."""
        soonest = expiry_after(now - LEAST_LIFE.total_seconds())
        for app in self.apps.values():
            for expires in (soonest, soonest + 86_400):
                if hmac.compare_digest(key.encode(), self._hsm_key(app.id, expires).encode()):
                    return app
        raise BadToken

    def _hsm_key(self, app_id: str, expires: int) -> str:
        text = f"hsm:{app_id}:{expires}:{self.logouts.get(app_id, 0)}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:56]

    def _sign(self, claims: dict[str, Any]) -> str:
        head = f"{JWT_HEADER}.{_b64(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{head}.{_b64(hmac.new(self._key, head.encode(), hashlib.sha256).digest())}"

    def _read(self, token: str, *, now: float) -> dict[str, Any]:
        head, _, signature = token.rpartition(".")
        expected = _b64(hmac.new(self._key, head.encode(), hashlib.sha256).digest())
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise BadToken
        payload = head.partition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["exp"] <= now:
            raise BadToken(expired=True)
        return claims


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
