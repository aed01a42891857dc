"""Sign-in as the broker does it: an address that sends the browser back with a code, and the code for a token."""

from __future__ import annotations

import time
from urllib.parse import urlencode, urlsplit

from execution.sandbox.http import ApiError, Reply, Request, json_reply, ok
from execution.sandbox.tokens import BadToken, TokenDesk


class FyersLogin:
    """The three open login calls."""

    def __init__(self, desk: TokenDesk) -> None:
        self.desk = desk

    def generate_authcode(self, request: Request) -> Reply:
        """Approves at once: the sandbox has no human to ask."""
        query = request.query
        app = self.desk.apps.get(query.get("client_id", ""))
        if app is None:
            raise ApiError(400, -352, "invalid app id")
        target = urlsplit(query.get("redirect_uri", ""))
        if target.scheme not in ("http", "https") or not target.netloc:
            raise ApiError(400, -50, "redirect_uri must be an absolute http address")
        if query.get("response_type") != "code" or not query.get("state"):
            raise ApiError(400, -50, "response_type must be code, and state must be given")
        code = self.desk.auth_code(
            app, nonce=query.get("nonce", ""), challenge=query.get("code_challenge", ""), now=time.time()
        )
        answer = urlencode({"s": "ok", "code": 200, "message": "", "auth_code": code, "state": query["state"]})
        location = target._replace(query=f"{target.query}&{answer}" if target.query else answer).geturl()
        return json_reply(302, {"s": "ok", "code": 302, "message": "", "Url": location}, {"Location": location})

    def validate_authcode(self, request: Request) -> Reply:
        body = request.json_object()
        if body.get("grant_type") != "authorization_code":
            raise ApiError(400, -50, "grant_type must be authorization_code")
        code, proof, verifier = body.get("code"), body.get("appIdHash"), body.get("code_verifier")
        known = {app.hash for app in self.desk.apps.values()}
        if isinstance(proof, str) and not verifier and proof not in known:
            raise ApiError(400, -371, "invalid appIdHash")
        try:
            token = self.desk.exchange(
                code if isinstance(code, str) else "",
                app_id_hash=proof if isinstance(proof, str) else None,
                verifier=verifier if isinstance(verifier, str) else None,
                now=time.time(),
            )
        except BadToken as error:
            raise ApiError(400, -437, "invalid auth code") from error
        return ok({"access_token": token, "refresh_token": ""})

    def validate_refresh_token(self, request: Request) -> Reply:
        """Continuous sessions ended on 1 April 2026."""
        raise ApiError(400, -501, "Please provide valid refresh token")
