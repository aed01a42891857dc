"""A desk of real processes for a bench: sandbox, engine, web, worker. All on loopback, all gone afterwards."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.harness import Skipped
from tests.flows.conftest import own_environment
from trading.desk.privileges import before_exec
from trading.desk.servers import CHECKOUT

APP_SECRET = "bench-secret"
APPS = {f"BENCHER00{number}-100": f"XB0000{number}" for number in range(1, 5)}
TRADERS = [f"{app}:{APP_SECRET}:{user}:1000000000" for app, user in APPS.items()]
ROLES = {
    "uvicorn": "web", "unpaced_engine": "engine", "execution.sandbox": "prices", "broker_stub": "broker",
    "postgres": "postgresql", "valkey": "valkey",
}  # fmt: skip


@contextmanager
def process(*command: str, log: Path, piped: bool = False, **env: str) -> Iterator["subprocess.Popen[str]"]:
    """One of our programs on the bench's database; ended with the block, and with us."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, *command], cwd=CHECKOUT, env=own_environment() | {"TARAZU_DB_POOL": "24"} | env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if piped else output, stderr=output,
            preexec_fn=before_exec(owner=None, private=False, with_signal=signal.SIGKILL, parent=os.getpid()),
        )  # fmt: skip
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def sandbox(
    folder: Path, *, start: str, speed: int = 10, more: Sequence[str] = (), apps: Sequence[str] = TRADERS
) -> Iterator[int]:
    """The exchange in continuous trading; its port. `apps`: who trades there, as its `--app` names them."""
    told = [part for app in apps for part in ("--app", app)]
    with process(
        "-m", "execution.sandbox", "--port", "0", "--print-port", "--state-dir", str(folder / "sandbox"),
        "--start", start, "--speed", str(speed), "--no-rate-limit", *told, *more,
        log=folder / "sandbox.log", piped=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        said = running.stdout.readline()
        if not said:
            raise Skipped((folder / "sandbox.log").read_text()[-300:])
        yield int(json.loads(said)["port"])


class Stamps:
    """When orders arrived at the broker, in nanoseconds of the monotonic clock."""

    def __init__(self, output) -> None:
        self._arrived: queue.Queue[int] = queue.Queue()
        self._output = output
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._output:
            self._arrived.put(int(line))

    def forget(self) -> None:
        while not self._arrived.empty():
            self._arrived.get()

    def next(self, within_s: float = 5.0) -> int:
        return self._arrived.get(timeout=within_s)


@contextmanager
def broker(port: int, folder: Path) -> Iterator[tuple[str, Stamps]]:
    """The address of a broker that answers at once, and the stamps it makes. All but orders is the sandbox's."""
    stub = str(Path(__file__).with_name("broker_stub.py"))
    with process(stub, str(port), log=folder / "broker.log", piped=True) as running:
        assert running.stdout is not None
        yield f"http://127.0.0.1:{int(running.stdout.readline())}", Stamps(running.stdout)


@contextmanager
def web(
    folder: Path, application: str = "trading.asgi:application", *more: str, workers: int = 1, **env: Any
) -> Iterator[str]:
    """uvicorn with one process, or several; its address."""
    port = _free_port()
    name = f"web-{port}.log"
    with process(
        "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port), "--no-access-log",
        "--log-level", "warning", "--workers", str(workers), *more, log=folder / name, **env,
    ) as running:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: running.poll() is not None or _answers(address), 40, f"web: {folder / name}")
        if running.poll() is not None:
            raise RuntimeError((folder / name).read_text()[-1500:])
        yield address


def cpu_s() -> dict[str, float]:
    """Processor seconds until now of this process and all that it has started, by what they are for."""
    processes: dict[int, tuple[int, float, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has just ended
        ticks = sum(map(int, fields[11:15]))  # what it has spent, and its children that have ended
        processes[int(folder.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"), command
    spent = dict.fromkeys(("clients", *ROLES.values()), 0.0)
    for pid, (_, seconds, command) in processes.items():
        role = "clients" if pid == os.getpid() else next((ROLES[part] for part in ROLES if part in command), None)
        if role is not None and _descends(pid, processes):
            spent[role] += seconds
    return spent


def _descends(pid: int, processes: dict[int, tuple[int, float, str]]) -> bool:
    while pid in processes:
        if pid == os.getpid():
            return True
        pid = processes[pid][0]
    return False


def wait_for(ready: Callable[[], object], within_s: float, what: str) -> None:
    end = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(0.002)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=1).status_code > 0
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
