"""A real web process on a free port, and a real Chromium that looks at it. Skipped where no Chromium is."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher

from accounts.models import User
from tests.factories import PASSWORD
from tests.flows.conftest import process_environment  # noqa: F401
from trading.desk.servers import CHECKOUT

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium: install it, or name it in CHROMIUM")
    return found


@pytest.fixture
def web(process_environment: dict[str, str], tmp_path: Path) -> Iterator[str]:  # noqa: F811
    """The address of a real uvicorn that serves this test's database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "trading.asgi:application", "--host", "127.0.0.1", "--port", str(port)],
            cwd=CHECKOUT,
            env=process_environment | {"PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    pytest.fail(f"the web process did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def page(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh window. Whatever the page writes to its console as an error fails the test in the end."""
    from playwright.sync_api import sync_playwright

    # Playwright's own loop runs in this thread, so Django takes every query of the test for one from a coroutine.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    errors: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            window = browser.new_page(viewport={"width": 1440, "height": 900})
            window.set_default_timeout(10_000)
            window.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
            window.on("pageerror", lambda error: errors.append(str(error)))
            yield window
        finally:
            browser.close()
    assert not errors, errors


@pytest.fixture
def sign_in(web: str) -> Callable[[Any, User], None]:
    """Sign a person in through the page, as a person does."""

    def enter(page: Any, user: User) -> None:
        # The web process knows Argon2 alone; the tests' own hasher is a quicker one.
        User.objects.filter(pk=user.pk).update(password=Argon2PasswordHasher().encode(PASSWORD, secrets.token_hex(8)))
        page.goto(f"{web}/")
        page.fill("#id_login", user.username)
        page.fill("#id_password", PASSWORD)
        page.click("text=Sign in >> nth=-1")
        page.wait_for_url(f"{web}/")

    return enter
