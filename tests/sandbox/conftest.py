"""A real sandbox exchange, in its own process, on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
APP_ID, APP_HASH_INPUT, USER = "SANDBOX001-100", "SANDBOX001-100:sandbox-secret", "XS00001"
START = "2026-11-20T09:15"


class Sandbox:
    """One running exchange and a signed-in client of it."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.options = options
        self.process: subprocess.Popen[str] | None = None
        self.port = 0
        self.token = ""
        self.http = httpx.Client(timeout=10)

    def start(self) -> Sandbox:
        command = [
            sys.executable,
            "-m",
            "execution.sandbox",
            "--port",
            "0",
            "--print-port",
            "--state-dir",
            str(self.state),
        ]
        self.process = subprocess.Popen(
            [*command, *self.options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(self.process.stderr.read())
        self.port = json.loads(line)["port"]
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sign_in(self, app_id: str = APP_ID, secret: str = "sandbox-secret") -> str:
        import hashlib

        query = {"client_id": app_id, "redirect_uri": "http://127.0.0.1/cb", "response_type": "code", "state": "k3v9"}
        redirect = self.http.get(f"{self.base}/api/v3/generate-authcode", params=query)
        back = parse_qs(urlsplit(redirect.headers["location"]).query)
        assert back["state"] == ["k3v9"] and back["s"] == ["ok"]
        proof = hashlib.sha256(f"{app_id}:{secret}".encode()).hexdigest()
        body = {"grant_type": "authorization_code", "appIdHash": proof, "code": back["auth_code"][0]}
        reply = self.http.post(f"{self.base}/api/v3/validate-authcode", json=body).json()
        assert reply["s"] == "ok", reply
        return f"{app_id}:{reply['access_token']}"

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        if token is None:
            self.token = self.token or self.sign_in()
            token = self.token
        return self.http.request(method, self.base + path, headers={"Authorization": token}, **options)

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return self.call("GET", path, params=params).json()

    def place(self, symbol: str, side: int, qty: Any, **fields: Any) -> dict[str, Any]:
        token = fields.pop("token", None)
        return self.call("POST", "/api/v3/orders/sync", token=token, json=ticket(symbol, side, qty, **fields)).json()

    def order(self, order_id: str) -> dict[str, Any]:
        (row,) = self.get("/api/v3/orders", id=order_id)["orderBook"]
        return row

    def step(self, **body: Any) -> dict[str, Any]:
        reply = self.http.post(f"{self.base}/sandbox/step", json=body).json()
        assert reply["s"] == "ok", reply
        return reply

    def depth(self, symbol: str) -> dict[str, Any]:
        return self.get("/data/depth", symbol=symbol, ohlcv_flag=1)["d"][symbol]


def ticket(symbol: str, side: int, qty: Any, **fields: Any) -> dict[str, Any]:
    """A placement body; a market order unless told otherwise."""
    return {
        "symbol": symbol,
        "qty": qty,
        "type": 2,
        "side": side,
        "productType": "INTRADAY",
        "limitPrice": 0,
        "stopPrice": 0,
        "disclosedQty": 0,
        "validity": "DAY",
        "offlineOrder": False,
        "stopLoss": 0,
        "takeProfit": 0,
        **fields,
    }


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Starts exchanges; stops whatever is left of them."""
    started: list[Sandbox] = []

    def start(*options: str, state: Path | None = None) -> Sandbox:
        exchange = Sandbox(state or tmp_path / "state", "--start", START, "--no-rate-limit", *options)
        started.append(exchange)
        return exchange.start()

    yield start
    for exchange in started:
        if exchange.process is not None and exchange.process.poll() is None:
            exchange.stop(signal.SIGKILL)
        exchange.http.close()


@pytest.fixture
def stepped(sandbox: Callable[..., Sandbox]) -> Sandbox:
    """An exchange whose time moves only by steps, with the first trades done."""
    exchange = sandbox("--stepped")
    exchange.step(ticks=3)
    return exchange


@pytest.fixture
def rich(sandbox: Callable[..., Sandbox]) -> Sandbox:
    """The same with ten crore to spend, for orders larger than the display."""
    exchange = sandbox("--stepped", "--app", "SANDBOX001-100:sandbox-secret:XS00001:100000000")
    exchange.step(ticks=3)
    return exchange
