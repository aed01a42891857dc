"""`manage.py desk` as a newcomer meets it: it starts, heals, stops, survives, and says in one line what is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trading.desk.servers import CHECKOUT

pytestmark = pytest.mark.slow
PROCESSES = ["sandbox", "engine", "worker", "research", "beat", "web"]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def until(true: Callable[[], object], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class Desk:
    """One desk in a folder of its own."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.port, self.sandbox_port = free_port(), free_port()
        self.process: subprocess.Popen[str] | None = None

    def environment(self, **more: str) -> dict[str, str]:
        dropped = ("DATABASE_URL", "REDIS_URL", "SANDBOX_URL", "DJANGO_", "TARAZU_", "TEST_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return (
            kept
            | {
                "TARAZU_VAR": str(self.var),
                "PORT": str(self.port),
                "TARAZU_SANDBOX_PORT": str(self.sandbox_port),
                "NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"],
            }
            | more
        )

    def start(self) -> str:
        """Started and open; what it said until then."""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "desk"],
            cwd=CHECKOUT, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        too_late = threading.Timer(60, self.process.kill)
        too_late.start()
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("Tarazu is open"):
                too_late.cancel()
                return said
        self.process.wait(timeout=10)
        raise AssertionError(f"the desk did not open: {said}")

    def refuse(self, **more: str) -> str:
        """It must end by itself, with status 2 and one line: that line."""
        done = subprocess.run(
            [sys.executable, "manage.py", "desk"],
            cwd=CHECKOUT, env=self.environment(**more), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ours(self) -> dict[int, str]:
        """Every living process that belongs to this folder: pid → command."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if state != "Z" and (f"TARAZU_VAR={self.var}" in words or str(self.var) in command):
                found[int(entry.name)] = command
        return found

    def pid(self, name: str) -> int:
        special = {"sandbox": "execution.sandbox", "research": "manage.py worker --research"}
        wanted = special.get(name, f"manage.py {name}")
        found = [pid for pid, command in self.ours().items() if wanted in command]
        return next((pid for pid in found if name != "worker" or "--research" not in self.ours().get(pid, "")), 0)

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> float:
        """Seconds it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(with_signal)
        self.process.communicate(timeout=30)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    import shutil

    var = Path(tempfile.mkdtemp(prefix="tarazu-desk-"))
    var.chmod(0o755)
    desk = Desk(var)
    yield desk
    if desk.process is not None and desk.process.poll() is None:
        desk.stop()
    until(lambda: not desk.ours())
    shutil.rmtree(var)


@pytest.fixture(autouse=True)
def left_by_nobody(desk: Desk) -> None:
    """A test that failed half-way leaves its desk running: not the next one's trouble."""
    if desk.process is not None and desk.process.poll() is None:
        desk.stop()


def test_the_first_start_opens_shows_a_sign_in_once_and_stops_without_a_trace(desk):
    said = desk.start()
    for name in ["postgres", "valkey", *PROCESSES]:
        assert f"  {name} " in said
    assert desk.process is not None
    assert desk.process.stdout is not None
    assert desk.process.stdout.readline() == "First sign-in, shown this once:\n"
    assert len(desk.process.stdout.readline().split()) >= 2
    status, body = desk.get("/readyz")
    assert (status, json.loads(body)["ready"]) == (200, True)
    assert desk.get("/healthz")[0] == 200
    assert desk.stop() < 40
    assert desk.process.returncode == 0
    assert desk.ours() == {}


def test_a_later_start_migrates_nothing_and_heals_what_is_killed(desk):
    began = time.monotonic()
    said = desk.start()
    assert time.monotonic() - began < 60  # quick where nothing else runs; here it must only come
    assert "migrations applied" not in said
    assert desk.process is not None
    assert "already running" in desk.refuse()
    for name in PROCESSES:
        before = desk.pid(name)
        assert before, name
        os.kill(before, signal.SIGKILL)
        until(lambda name=name, before=before: desk.pid(name) not in {0, before})
    until(lambda: desk.get("/readyz")[0] == 200)
    keeper = json.loads((desk.var / "run" / "servers.json").read_text())["keeper"]
    os.kill(keeper, signal.SIGKILL)
    until(lambda: json.loads((desk.var / "run" / "servers.json").read_text())["keeper"] != keeper)
    until(lambda: desk.get("/readyz")[0] == 200)
    assert desk.stop(signal.SIGTERM) < 40
    assert desk.ours() == {}


def test_nothing_survives_the_supervisor_even_when_it_is_killed(desk):
    said = desk.start()
    assert "First sign-in" not in said
    assert desk.process is not None
    desk.process.kill()
    desk.process.communicate(timeout=20)
    until(lambda: not desk.ours(), within_s=15)
    desk.start()  # and the next start goes on from there
    until(lambda: desk.get("/readyz")[0] == 200)
    desk.stop()


def test_a_command_works_beside_the_desk_and_alone(desk):
    def count() -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v0", "-c",
             "from django.contrib.auth import get_user_model as g; print(g().objects.count())"],
            cwd=CHECKOUT, env=desk.environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    alone = count()
    assert int(alone) >= 1
    until(lambda: not desk.ours())  # its servers stop when it ends
    desk.start()
    assert count() == alone
    assert desk.get("/healthz")[0] == 200
    desk.stop()


def test_a_taken_port_is_one_line(desk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in (said := desk.refuse(PORT=str(port)))
        assert "PORT=" in said
        assert "make run" in said


def test_a_folder_that_cannot_be_written_is_one_line(desk):
    assert "set TARAZU_VAR" in desk.refuse(TARAZU_VAR="/proc/nowhere")


def test_half_of_the_servers_is_one_line(desk):
    assert "only one of DATABASE_URL and REDIS_URL" in desk.refuse(REDIS_URL="redis://127.0.0.1:1")


def test_a_database_that_does_not_answer_is_one_line(desk):
    said = desk.refuse(REDIS_URL="redis://127.0.0.1:1", DATABASE_URL=f"postgres://a@127.0.0.1:{free_port()}/x")
    assert "DATABASE_URL" in said
