"""One supervised process: started in a session of its own, its words kept in a log, started again when it ends.

A child dies with the supervisor: the kernel sends it SIGTERM when the supervisor's main thread is gone (so children are
started from there alone), and `watch_parent` ends those that are too stuck to obey.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from trading.desk.privileges import before_exec
from trading.desk.servers import CHECKOUT
from trading.settings.logs import redact

LARGEST_LOG = 5_000_000
KEPT_LOGS = 3
STEADY_S = 60  # alive this long, a process has earned a fresh start of its delays
TROUBLE = re.compile(r"\b(ERROR|CRITICAL)\b")
ECHOED_A_MINUTE = 10


class Log:
    """A file that is put aside when it is full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("a", errors="replace")

    def write(self, line: str) -> None:
        self.file.write(line)
        self.file.flush()
        if self.file.tell() > LARGEST_LOG:
            self.file.close()
            for number in range(KEPT_LOGS - 1, 0, -1):
                older = self.path.with_suffix(f".log.{number}")
                if older.exists():
                    older.rename(self.path.with_suffix(f".log.{number + 1}"))
            self.path.rename(self.path.with_suffix(".log.1"))
            self.file = self.path.open("a", errors="replace")

    def close(self) -> None:
        self.file.close()


class Child:
    """A process of the desk: `name`, what it runs, and how long it may take to stop."""

    def __init__(
        self, name: str, command: list[str], *, log: Path, environment: dict[str, str], tell: Callable[[str], None],
        stop_s: float = 2.0,
    ) -> None:  # fmt: skip
        self.name = name
        self.command = command
        self.log = log
        self.environment = environment
        self.tell = tell
        self.stop_s = stop_s
        self.process: subprocess.Popen[str] | None = None
        self.restarts = 0
        self.started_at = 0.0
        self.start_again_at: float | None = None
        self.asked_at: float | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.start_again_at = self.asked_at = None
        self.process = subprocess.Popen(
            self.command,
            cwd=CHECKOUT,
            env=self.environment | {"TARAZU_PARENT": str(os.getpid()), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=before_exec(owner=None, private=False, with_signal=signal.SIGTERM, parent=os.getpid()),
        )
        self._reader = threading.Thread(
            target=self._keep_words, args=[self.process], daemon=True, name=f"log {self.name}"
        )
        self._reader.start()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def look_after(self) -> None:
        """Called again and again: notices an end, and starts the process again after a delay that grows."""
        if self.running:
            return
        now = time.monotonic()
        if self.start_again_at is None:
            if now - self.started_at > STEADY_S:
                self.restarts = 0
            delay = min(0.5 * 2**self.restarts, 30.0)
            self.restarts += 1
            self.start_again_at = now + delay
            self.tell(f"{self.name} ended ({self._how()}), starts again in {delay:g} s; its log: {self.log}")
        elif now >= self.start_again_at:
            self.start()
            self.tell(f"{self.name} started again, pid {self.process.pid if self.process else '-'}")

    def ask_to_stop(self) -> None:
        """Once: to some programs a second SIGTERM means something else."""
        if self.asked_at is None and self.process is not None and self.running:
            self.asked_at = time.monotonic()
            self.process.terminate()

    def stop(self) -> bool:
        """Ask, wait, insist. False when it had to be killed."""
        if self.process is None:
            return True
        obeyed = True
        self.ask_to_stop()
        if self.asked_at is not None:
            try:
                self.process.wait(timeout=max(0.1, self.asked_at + self.stop_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                obeyed = False
                self.kill()
        if self._reader is not None:
            self._reader.join(timeout=1)
        return obeyed

    def kill(self) -> None:
        if self.process is not None and self.running:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=5)

    def _how(self) -> str:
        code = self.process.returncode if self.process else 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _keep_words(self, process: "subprocess.Popen[str]") -> None:
        log = Log(self.log)
        minute, echoed = 0, 0
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                clean = redact(line)
                log.write(clean)
                if TROUBLE.search(clean):
                    if minute != int(time.monotonic() / 60):
                        minute, echoed = int(time.monotonic() / 60), 0
                    echoed += 1
                    if echoed <= ECHOED_A_MINUTE:
                        self.tell(f"{self.name}: {clean.strip()[:300]}")
        log.close()


def watch_parent(patience_s: float = 4.0) -> None:
    """In a child: when the supervisor has gone and the gentle signal did not end us, end."""
    parent = int(os.environ.get("TARAZU_PARENT", "0") or 0)
    if parent == 0 or os.getppid() != parent:
        return  # started by hand

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        time.sleep(patience_s)
        print("the supervisor is gone: ending", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch parent").start()
