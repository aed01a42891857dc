"""Using the embedded servers: attach to those that run, or have them started, for as long as `Servers` is held."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from trading.desk.errors import DeskError
from trading.desk.paths import Folders

CHECKOUT = Path(__file__).resolve().parents[2]


class Servers:
    """One user's hold on PostgreSQL and Valkey. The last to let go stops them.

    `attach()` returns when both answer (or, with wait=False, once they are starting). Errors: DeskError, one line.
    """

    def __init__(self, var: Path, *, throwaway: bool = False) -> None:
        self.folders = Folders(var)
        self.throwaway = throwaway
        self._hold: IO[str] | None = None
        self._starting: subprocess.Popen[str] | None = None

    def attach(self, *, wait: bool = True) -> None:
        if self._hold is None:
            self._make_folders()
            hold = (self.folders.run / "servers.lock").open("a")
            fcntl.flock(hold, fcntl.LOCK_SH)  # waits for servers that are just stopping
            self._hold = hold
        with (self.folders.run / "start.lock").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)  # one starts them, the others wait here
            if self.state() is None:
                self._starting = self._spawn_keeper(start)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the keeper that `attach` started says that both servers answer."""
        if self._starting is None:
            return
        assert self._starting.stdout is not None
        said = self._starting.stdout.readline().strip()
        self._starting.stdout.close()
        keeper, self._starting = self._starting, None
        if said != "ready":
            keeper.wait(timeout=30)
            self.release()
            hint = f"see {self.folders.log / 'servers.log'}"
            raise DeskError(said.removeprefix("error: ") or f"the embedded servers did not start: {hint}")

    def state(self) -> dict[str, Any] | None:
        """What the keeper says of itself and its servers; None when there is no keeper."""
        try:
            state = json.loads((self.folders.run / "servers.json").read_text())
        except (OSError, ValueError):
            return None
        return dict(state) if self.kept() else None  # else it is the file of a keeper that was killed

    def kept(self) -> bool:
        """Whether a keeper lives, be it starting, serving or stopping."""
        with (self.folders.run / "keeper.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def release(self) -> None:
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def __enter__(self) -> "Servers":
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def environment(self) -> dict[str, str]:
        """What a process needs to reach them."""
        return {"DATABASE_URL": self.folders.database_url, "REDIS_URL": self.folders.redis_url}

    def _make_folders(self) -> None:
        folders = self.folders
        try:
            for folder in (folders.var, folders.log, folders.run):
                folder.mkdir(parents=True, exist_ok=True)
            folders.sockets.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
            if folders.sockets.stat().st_uid != os.geteuid():
                raise DeskError(f"{folders.sockets} belongs to somebody else: set TARAZU_VAR to a shorter path")
            with (folders.run / "servers.lock").open("a"):
                pass
        except OSError as error:
            raise DeskError(
                f"{folders.var} is not writable ({error.strerror}): give it to this user, or set TARAZU_VAR"
            ) from error

    def _spawn_keeper(self, start: IO[str]) -> subprocess.Popen[str]:
        """The keeper takes the start lock over and lets it go when both servers answer, or when it dies."""
        command = [sys.executable, "-m", "trading.desk.keeper", str(self.folders.var), str(start.fileno())]
        with (self.folders.log / "servers.log").open("ab") as log:
            return subprocess.Popen(
                command + (["--throwaway"] if self.throwaway else []),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=CHECKOUT,
                pass_fds=[start.fileno()],
                start_new_session=True,  # Ctrl-C in the user's terminal is not meant for it
            )
