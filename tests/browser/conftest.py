"""A real Chromium that looks at a real web process. Skipped where no Chromium is."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connections

from accounts.models import User
from tests.factories import PASSWORD
from tests.flows.web_process import web  # noqa: F401

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
def page(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh window. Whatever the page writes to its console as an error fails the test in the end."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # facts are waited for, also on a busy machine
    # Playwright's own loop runs in this thread, so Django takes every query of the test for one from a coroutine.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    errors: list[str] = []

    def hear(said: Any) -> None:
        if said.type != "error":
            return
        if said.text.startswith("htmx:sendAbort"):
            # A page that is left lets go of what it had just asked for: no fault of its, and htmx says it in two lines.
            if errors and errors[-1].startswith("htmx:afterRequest"):
                errors.pop()
            return
        errors.append(said.text)

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            window = browser.new_page(viewport={"width": 1440, "height": 900})
            window.set_default_timeout(10_000)
            window.on("console", hear)
            window.on("pageerror", lambda error: errors.append(str(error)))
            window.said_in_console = errors
            yield window
        finally:
            browser.close()
            connections.close_all()  # they belong to this loop, and nobody else would find them
    assert not errors, errors


@pytest.fixture
def sign_in(web: str) -> Callable[[Any, User], None]:  # noqa: F811
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
