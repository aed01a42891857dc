"""The keeper: the parent of the embedded servers, which runs as long as somebody uses them.

Every user of the servers (the desk, a management command, a test run) holds a shared lock on `servers.lock`. The
kernel drops it when its holder goes, by whatever death. The keeper tries for the exclusive lock; the day it gets it,
nobody is left, and it stops Valkey, then PostgreSQL, and goes. If the keeper itself is killed, the servers die with
it, and the next user starts another one.

Run as `python -m trading.desk.keeper VAR START_LOCK_FD [--throwaway]`. It says `ready` or `error: …` on its output.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from trading.desk.errors import DeskError
from trading.desk.paths import Folders
from trading.desk.postgres import PostgresServer
from trading.desk.valkey import ValkeyServer

LOOK_S = 0.15
LARGEST_LOG = 5_000_000


class Keeper:
    def __init__(self, folders: Folders, *, start_lock: int, throwaway: bool) -> None:
        self.folders = folders
        self.start_lock = start_lock
        self.throwaway = throwaway
        self.asked_to_stop = False
        self.users = (folders.run / "servers.lock").open("a")
        self.servers: dict[str, Any] = {}
        self.failures: dict[str, int] = {}

    def run(self) -> int:
        mine = (self.folders.run / "keeper.lock").open("a")
        fcntl.flock(mine, fcntl.LOCK_EX)  # the one before us may still be writing its checkpoint
        for name in ("postgres", "valkey"):
            self._roll(self.folders.log / f"{name}.log")
        try:
            self.servers = {
                "postgres": PostgresServer(self.folders, durable=not self.throwaway),
                "valkey": ValkeyServer(self.folders, durable=not self.throwaway),
            }
            for server in self.servers.values():
                server.start()
            self._ensure_database()
        except (DeskError, OSError) as error:
            self._stop_servers()
            print(f"error: {error}", flush=True)
            return 2
        self._write_state()
        print("ready", flush=True)
        sys.stdout.close()
        os.close(self.start_lock)  # whoever waited to attach may come in
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "asked_to_stop", True))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self.asked_to_stop and not self._nobody_left():
            self._heal()
            time.sleep(LOOK_S)
        self._stop_servers()
        (self.folders.run / "servers.json").unlink(missing_ok=True)
        if self.throwaway:
            shutil.rmtree(self.folders.var, ignore_errors=True)
            if self.folders.sockets != self.folders.run:
                shutil.rmtree(self.folders.sockets, ignore_errors=True)
        return 0

    def _nobody_left(self) -> bool:
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True  # and we keep the lock: a newcomer waits until we are gone, then starts afresh

    def _heal(self) -> None:
        for name, server in self.servers.items():
            if server.alive():
                continue
            self.failures[name] = self.failures.get(name, 0) + 1
            time.sleep(min(0.2 * 2 ** (self.failures[name] - 1), 10))
            try:
                server.start()
            except DeskError as error:
                with (self.folders.log / "servers.log").open("a") as log:
                    log.write(f"{time.strftime('%F %T')} ERROR {error}\n")
            self._write_state()

    def _ensure_database(self) -> None:
        mark = self.folders.run / "database-made"
        if mark.exists() and not self.throwaway:
            return
        import psycopg  # only at the first start: it takes a tenth of a second

        where = f"user=tarazu dbname=postgres host={self.folders.postgres_sockets}"
        with psycopg.connect(where, autocommit=True) as talk:
            if talk.execute("SELECT 1 FROM pg_database WHERE datname = 'tarazu'").fetchone() is None:
                talk.execute("CREATE DATABASE tarazu")
        mark.touch()

    def _stop_servers(self) -> None:
        for name in ("valkey", "postgres"):
            if name in self.servers:
                self.servers[name].stop()

    def _write_state(self) -> None:
        state = {
            "keeper": os.getpid(),
            "servers": {
                name: {"pid": server.pid, "adopted": server.adopted is not None, "restarts": self.failures.get(name, 0)}
                for name, server in self.servers.items()
            },
            "postgres": self.servers["postgres"].programs.major,
            "postgres_bin": str(self.servers["postgres"].programs.bin),
            "valkey_bin": str(self.servers["valkey"].program),
        }
        draft = self.folders.run / f".servers.json.{os.getpid()}"
        draft.write_text(json.dumps(state))
        draft.rename(self.folders.run / "servers.json")

    def _roll(self, log: Path) -> None:
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.rename(log.with_suffix(".log.1"))


def main() -> int:
    folders = Folders(Path(sys.argv[1]))
    return Keeper(folders, start_lock=int(sys.argv[2]), throwaway="--throwaway" in sys.argv[3:]).run()


if __name__ == "__main__":
    sys.exit(main())
