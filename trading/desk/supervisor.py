"""One command for the whole desk: servers, tables, the first sign-in, and every process, in order, up and down."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import IO, Any

import psycopg
import redis
from django.conf import settings
from django.core import checks
from django.db.backends.postgresql.base import DatabaseWrapper

from trading.desk.children import Child
from trading.desk.doorway import servers_are_given
from trading.desk.errors import DeskError
from trading.desk.servers import CHECKOUT, Servers

LOOK_S = 0.2
WEB_ANSWERS_WITHIN_S = 60
STOP_WITHIN_S = 4.5


class Supervisor:
    """The desk as one process tree. `run` returns the exit status."""

    def __init__(self, *, host: str, port: int, speed: int) -> None:
        self.host, self.port, self.speed = host, port, speed
        self.folders = settings.FOLDERS
        self.servers: Servers | None = None
        self.servers_seen: dict[str, Any] = {}
        self.children: list[Child] = []
        self.stopping = False
        self.lock: IO[str] | None = None
        self.environment = dict(os.environ)

    # --- the story ----------------------------------------------------------------------------------------------------
    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        try:
            self._preflight()
            self._start_servers()
            self._prepare_tables()
            self._start_sandbox()
            credentials = self._seed_once()
            self._start_processes()
            self._wait_for_web()
            self._welcome(credentials)
            while not self.stopping:
                self._look_after()
                time.sleep(LOOK_S)
        except _Stopped:
            pass
        finally:
            self._stop()
        return 0

    def _preflight(self) -> None:
        try:
            self.folders.run.mkdir(parents=True, exist_ok=True)
            self.folders.log.mkdir(parents=True, exist_ok=True)
            self.lock = (self.folders.run / "desk.lock").open("a+")
        except OSError as error:
            raise DeskError(
                f"{self.folders.var} is not writable ({error.strerror}): give it to this user, or set TARAZU_VAR"
            ) from error
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.seek(0)
            raise DeskError(f"this desk is already running ({self.lock.read().strip()}): stop it first") from None
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((self.host, self.port))
            except OSError as error:
                free = _free_port(self.host)
                raise DeskError(
                    f"cannot listen on {self.host}:{self.port} ({error.strerror}): stop what uses it, "
                    f"or take another port, for example PORT={free} make run"
                ) from error
        self.lock.truncate(0)
        self.lock.write(f"pid {os.getpid()}, {self.address}")
        self.lock.flush()
        wrong = [found for found in checks.run_checks() if found.is_serious()]
        if wrong:
            more = f" (and {len(wrong) - 1} more: manage.py check)" if len(wrong) > 1 else ""
            raise DeskError(f"{wrong[0].msg} {wrong[0].hint or ''}{more}")

    def _start_servers(self) -> None:
        if servers_are_given():
            self._ask_given_servers()
            say("servers", "PostgreSQL and Valkey as DATABASE_URL and REDIS_URL name them")
            return
        self.servers = Servers(self.folders.var)
        self.servers.attach()
        self.environment |= self.servers.environment()
        self.servers_seen = self.servers.state() or {}
        running = self.servers_seen.get("servers", {})
        say("postgres", f"pid {running['postgres']['pid']}, version {self.servers_seen['postgres']}")
        say("valkey", f"pid {running['valkey']['pid']}")

    def _ask_given_servers(self) -> None:
        try:
            psycopg.connect(settings.DATABASE_URL, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            raise DeskError(
                f"DATABASE_URL: {str(error).strip().splitlines()[0]}: start that server, or correct it"
            ) from None
        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=5, socket_timeout=5) as client:
                client.ping()
        except redis.RedisError as error:
            raise DeskError(f"REDIS_URL: {error}: start that server, or correct it") from None

    def _prepare_tables(self) -> None:
        """Apply what is missing; when nothing is, the question costs a few milliseconds."""
        from django.core.management import call_command
        from django.db import OperationalError, connection
        from django.db.migrations.executor import MigrationExecutor

        self._still_wanted()
        try:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if plan:
                call_command("migrate", interactive=False, verbosity=0)
                say("tables", f"{len(plan)} migrations applied")
        except OperationalError as error:
            raise DeskError(f"the database cannot be used: {error}: check DATABASE_URL") from error
        finally:
            _let_go_of_database()

    def _start_sandbox(self) -> None:
        if os.environ.get("SANDBOX_URL"):
            say("sandbox", f"the one at {settings.SANDBOX_URL}")
            return
        port = settings.SANDBOX_PORT if _is_free(settings.SANDBOX_PORT) else _free_port("127.0.0.1")
        self.environment["SANDBOX_URL"] = f"http://127.0.0.1:{port}"
        self.folders.sandbox.mkdir(parents=True, exist_ok=True)
        self._child(
            "sandbox",
            [sys.executable, "-m", "execution.sandbox", "--host", "127.0.0.1", "--port", str(port),
             "--state-dir", str(self.folders.sandbox), "--speed", str(self.speed), "--calls-a-minute", "2000",
             "--redirect-uri", f"http://127.0.0.1:{settings.PORT}/broker/callback/"],
            stop_s=STOP_WITHIN_S,
        )  # fmt: skip
        end = time.monotonic() + 30
        while _is_free(port):
            self._still_wanted()
            self.children[0].look_after()
            if time.monotonic() > end:
                raise DeskError(f"the sandbox exchange does not answer on port {port}: see {self.children[0].log}")
            time.sleep(0.05)

    def _seed_once(self) -> dict[str, Any]:
        """The demo of a first start: people, money and a deployed contract. Empty at every later start."""
        from django.contrib.auth import get_user_model

        self._still_wanted()
        try:
            if get_user_model().objects.exists():
                return {}
        finally:
            _let_go_of_database()
        done = subprocess.run(
            [sys.executable, "manage.py", "seed_demo", "--json"],
            cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=170,
        )  # fmt: skip
        if done.returncode != 0:
            (self.folders.log / "seed.log").write_text(done.stderr)
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise DeskError(f"the demo could not be made: {last} (all of it in {self.folders.log / 'seed.log'})")
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        return found

    def _start_processes(self) -> None:
        for name, command in (
            ("engine", ["engine"]),
            ("worker", ["worker"]),
            ("research", ["worker", "--research"]),
            ("beat", ["beat"]),
            ("web", ["web", "--host", self.host, "--port", str(self.port), "--workers", str(settings.WEB_PROCESSES)]),
        ):
            self._still_wanted()
            self._child(name, [sys.executable, "manage.py", *command], stop_s=STOP_WITHIN_S)

    def _wait_for_web(self) -> None:
        end = time.monotonic() + WEB_ANSWERS_WITHIN_S
        while not self._web_answers():
            self._look_after()
            if time.monotonic() > end:
                raise DeskError(f"the pages do not answer on {self.address}: see {self.folders.log / 'web.log'}")
            time.sleep(0.1)

    def _welcome(self, credentials: dict[str, Any]) -> None:
        print(f"\nTarazu is open at {self.address}   (Ctrl-C stops everything)", flush=True)
        if credentials:
            print("First sign-in, shown this once:", flush=True)
            for line in sign_in_lines(credentials):
                print(f"  {line}", flush=True)
        print(flush=True)

    def _look_after(self) -> None:
        self._still_wanted()
        self._look_after_servers()
        for child in self.children:
            child.look_after()

    def _look_after_servers(self) -> None:
        if self.servers is None:
            return
        state = self.servers.state()
        if state is None:
            self.tell("PostgreSQL and Valkey lost their keeper: starting them again")
            self.servers.attach()
            state = self.servers.state() or {}
        for name, server in state.get("servers", {}).items():
            before = self.servers_seen.get("servers", {}).get(name, {})
            if before.get("pid") != server["pid"]:
                self.tell(f"{name} started again, pid {server['pid']}")
        self.servers_seen = state

    def _stop(self) -> None:
        self.stopping = True
        began = time.monotonic()
        for exchange in (False, True):  # its members first: whoever asks a dead exchange waits and complains
            ending = [child for child in self.children if (child.name == "sandbox") is exchange]
            for child in ending:  # rows wait for whoever comes next, in whatever order these end
                child.ask_to_stop()
            for child in ending:
                if not child.stop():
                    say(child.name, f"did not stop within {child.stop_s:g} s and was killed")
        if self.servers is not None:
            self.servers.release()
            self._wait_for_servers_to_stop()
        if self.children:
            print(f"stopped in {time.monotonic() - began:.1f} s", flush=True)
        if self.lock is not None:
            self.lock.truncate(0)
            self.lock.close()

    def _wait_for_servers_to_stop(self) -> None:
        """Unless somebody else still uses them."""
        end = time.monotonic() + 5
        while (kept := self.servers is not None and self.servers.kept()) and time.monotonic() < end:
            time.sleep(0.05)
        if kept:
            say("servers", "stay: another command is using them")

    # --- small things -------------------------------------------------------------------------------------------------
    @property
    def address(self) -> str:
        shown = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host
        return f"http://{shown}:{self.port}/"

    def _child(self, name: str, command: list[str], *, stop_s: float) -> None:
        log = self.folders.log / f"{name}.log"
        child = Child(name, command, log=log, environment=self.environment, tell=self.tell, stop_s=stop_s)
        child.start()
        self.children.append(child)
        say(name, f"pid {child.process.pid if child.process else '-'}")

    def _web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{_reachable(self.host)}:{self.port}/healthz", timeout=2) as reply:
                return bool(reply.status == 200)
        except urllib.error.HTTPError:
            return True  # it answers; what it says is its own log's business
        except OSError:
            return False

    def _asked_to_stop(self, number: int, _: object) -> None:
        if self.stopping and number == signal.SIGINT:
            for child in self.children:
                child.kill()  # asked twice: no more patience
        self.stopping = True

    def _still_wanted(self) -> None:
        if self.stopping:
            raise _Stopped

    def tell(self, line: str) -> None:
        if not self.stopping:
            print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


class _Stopped(Exception):
    """Asked to stop before everything was up."""


def sign_in_lines(credentials: dict[str, Any]) -> list[str]:
    """`{"users": [{"username", "password", "role"}]}` as a small table."""
    return [f"{user['username']:<12} {user['password']:<24} {user.get('role', '')}" for user in credentials["users"]]


def say(name: str, what: str) -> None:
    print(f"  {name:<9} {what}", flush=True)


def _let_go_of_database() -> None:
    """The supervisor asks at the start only, and must not hold a connection while PostgreSQL stops."""
    from django.db import connection

    connection.close()
    if isinstance(connection, DatabaseWrapper):
        connection.close_pool()


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.settimeout(1)
        return trial.connect_ex(("127.0.0.1", port)) != 0


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])
