"""The sandbox exchange is real here: its own process, real HTTP, one free port and one folder for each test."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from trading.desk.privileges import before_exec
from trading.desk.servers import CHECKOUT


@dataclass
class SandboxProcess:
    """A running exchange: where it is, how to move its clock, how to end it."""

    base_url: str
    process: "subprocess.Popen[str]"
    state_dir: Path
    log: Path

    def step(self, **how: Any) -> dict[str, Any]:
        """Move a stepped exchange on, as its `POST /sandbox/step` takes it (for example `minutes=1`); its answer."""
        return self.ask("/sandbox/step", **how)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """One of the exchange's own controls, below `/sandbox/`."""
        reply = httpx.post(f"{self.base_url}{path}", json=body, timeout=30)
        reply.raise_for_status()
        answer: dict[str, Any] = reply.json()
        return answer

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[Callable[..., SandboxProcess]]:
    """`start_sandbox("--stepped", "--seed", "7")`: an exchange that ends with the test.

    Give `port=` and `state_dir=` of an earlier one to start it again where it stopped.
    """
    running: list[SandboxProcess] = []

    def start(*arguments: str, port: int = 0, state_dir: Path | None = None) -> SandboxProcess:
        folder = state_dir or tmp_path / f"sandbox-{len(running)}"
        folder.mkdir(exist_ok=True)
        log = tmp_path / f"sandbox-{len(running)}.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "execution.sandbox", "--host", "127.0.0.1", "--port", str(port),
                    "--print-port", "--state-dir", str(folder), *arguments,
                ],
                cwd=CHECKOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=before_exec(owner=None, private=False, with_signal=signal.SIGKILL, parent=os.getpid()),
            )  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline().strip()  # {"port": 40123}
        if not said:
            process.kill()
            process.wait(timeout=10)
            pytest.fail(f"the sandbox did not start: {log.read_text(errors='replace')[-2000:]}")
        found = SandboxProcess(f"http://127.0.0.1:{json.loads(said)['port']}", process, folder, log)
        running.append(found)
        return found

    yield start
    for one in running:
        one.stop()
        if one.process.stdout is not None:
            one.process.stdout.close()


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, start_sandbox: Callable[..., SandboxProcess]) -> SandboxProcess:
    """An exchange whose clock moves only when asked. Other arguments: `@pytest.mark.parametrize("sandbox", [...],
    indirect=True)` with a tuple of them."""
    arguments = getattr(request, "param", ("--stepped", "--seed", "7"))
    return start_sandbox(*arguments)


@pytest.fixture
def process_environment(transactional_db: None) -> dict[str, str]:
    """What a real process of ours (worker, engine, web) needs to work on this test's database and Valkey."""
    return own_environment()


def own_environment() -> dict[str, str]:
    from django.conf import settings
    from django.db import connection

    found = connection.settings_dict
    where = f"postgres://{found['USER'] or ''}@/{found['NAME']}?host={found['HOST']}"
    if found["PORT"] or found["PASSWORD"]:
        where = (
            f"postgres://{found['USER']}:{found['PASSWORD']}@{found['HOST']}:{found['PORT'] or 5432}/{found['NAME']}"
        )
    ring = ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in settings.DATA_KEYS.items())
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "PYTEST_", "TARAZU_", "DJANGO_"))}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "trading.settings.dev",
        "DATABASE_URL": where,
        "REDIS_URL": settings.REDIS_URL,
        "TARAZU_REDIS_PREFIX": settings.REDIS_PREFIX,
        "TARAZU_VAR": str(settings.VAR),
        "TARAZU_DATA_KEY": ring,
        "DJANGO_SECRET_KEY": settings.SECRET_KEY,
        "TARAZU_DB_POOL": "3",
    }
