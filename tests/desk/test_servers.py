"""The embedded PostgreSQL and Valkey: shared while somebody uses them, stopped by the last, healed, never lost."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from trading.desk import postgres
from trading.desk.errors import DeskError
from trading.desk.paths import LONGEST_SOCKET, Folders
from trading.desk.privileges import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, become
from trading.desk.servers import CHECKOUT, Servers

WHEEL = pytest.param("1", id="wheel")
MACHINE = pytest.param("", id="machine")


@pytest.fixture
def var() -> Iterator[Path]:
    """A short path: a socket's name has 100 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="tarazu-desk-"))
    folder.chmod(0o755)
    yield folder
    wait_until_stopped(folder)
    shutil.rmtree(folder)


def wait_until_stopped(var: Path) -> None:
    if (var / "run").exists():
        until(lambda: not Servers(var).kept())


def until(true: Callable[[], object], within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def pid_of(servers: Servers, name: str) -> int:
    return int((servers.state() or {})["servers"][name]["pid"])


def ask(servers: Servers, question: str) -> object:
    with psycopg.connect(servers.environment()["DATABASE_URL"], autocommit=True) as talk:
        row = talk.execute(question).fetchone()
        return row[0] if row else None


def remember(servers: Servers, word: str) -> None:
    with psycopg.connect(servers.environment()["DATABASE_URL"], autocommit=True) as talk:
        talk.execute("CREATE TABLE IF NOT EXISTS memory (word text)")
        talk.execute("INSERT INTO memory VALUES (%s)", [word])
    with redis.Redis.from_url(servers.environment()["REDIS_URL"]) as client:
        client.set("word", word)


@pytest.mark.parametrize("wheel", [WHEEL, MACHINE])
def test_what_was_written_is_there_at_the_next_start(var, monkeypatch, wheel):
    monkeypatch.setenv("TARAZU_WHEEL_SERVERS", wheel)
    with Servers(var) as servers:
        remember(servers, "tarazu")
    wait_until_stopped(var)
    began = time.monotonic()
    with Servers(var) as servers:
        assert time.monotonic() - began < 30
        assert ask(servers, "SELECT word FROM memory") == "tarazu"
        with redis.Redis.from_url(servers.environment()["REDIS_URL"]) as client:
            assert client.get("word") == b"tarazu"
        assert ask(servers, "SHOW fsync") == "on"
        assert ask(servers, "SHOW synchronous_commit") == "on"
        assert ask(servers, "SHOW listen_addresses") == ""


def test_two_users_share_one_pair_and_the_last_one_stops_it(var):
    first, second = Servers(var), Servers(var)
    first.attach()
    second.attach()
    pid = pid_of(first, "postgres")
    assert pid_of(second, "postgres") == pid
    first.release()
    time.sleep(0.5)
    assert ask(second, "SELECT 1") == 1
    second.release()
    until(lambda: gone(pid))


def test_a_user_that_is_killed_lets_go(var):
    attach = f"from trading.desk.servers import *; s = Servers(Path({str(var)!r})); s.attach()"
    program = f"{attach}; print('up', flush=True); input()"
    user = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdin=-1, stdout=-1, text=True)
    assert user.stdout is not None
    assert user.stdout.readline() == "up\n"
    pids = [pid_of(Servers(var), name) for name in ("postgres", "valkey")]
    user.kill()
    user.communicate()
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_server_that_is_killed_comes_back_with_its_data(var, name):
    with Servers(var) as servers:
        remember(servers, "kept")
        time.sleep(1.2)  # Valkey writes its file every second
        os.kill(pid_of(servers, name), signal.SIGKILL)
        until(lambda: (servers.state() or {})["servers"][name]["restarts"] == 1)
        assert ask(servers, "SELECT word FROM memory") == "kept"
        with redis.Redis.from_url(servers.environment()["REDIS_URL"]) as client:
            assert client.get("word") == b"kept"


def test_when_the_keeper_is_killed_its_servers_go_and_the_next_user_starts_them_again(var):
    servers = Servers(var)
    servers.attach()
    remember(servers, "kept")
    state = servers.state() or {}
    os.kill(state["keeper"], signal.SIGKILL)
    until(lambda: gone(state["keeper"]))
    servers.attach()
    assert (servers.state() or {})["keeper"] != state["keeper"]
    assert ask(servers, "SELECT word FROM memory") == "kept"
    servers.release()
    wait_until_stopped(var)
    assert all(gone(server["pid"]) for server in state["servers"].values())


def test_a_postmaster_left_by_a_killed_run_is_taken_over(var):
    with Servers(var):
        pass
    wait_until_stopped(var)
    left = postgres.PostgresServer(Folders(var))  # as a run does that is killed without a trace
    left.start()
    assert left.pid is not None
    try:
        with Servers(var) as servers:
            found = (servers.state() or {})["servers"]["postgres"]
            assert found["adopted"] is True
            assert found["pid"] == left.pid
            assert ask(servers, "SELECT 1") == 1
        assert left.process is not None
        left.process.wait(timeout=15)  # the last user stopped it, although it was not its child
    finally:
        left.stop()


def test_a_folder_of_another_version_is_refused_in_one_line_and_left_alone(var):
    (var / "postgres").mkdir()
    (var / "postgres" / "PG_VERSION").write_text("13\n")
    with pytest.raises(DeskError, match=r"made by PostgreSQL 13 and only .* is here: install 13, or set PG_BIN"):
        Servers(var).attach()
    assert [path.name for path in (var / "postgres").iterdir()] == ["PG_VERSION"]


def test_no_servers_at_all_names_the_other_ways(monkeypatch):
    monkeypatch.setattr(postgres, "_folders", list)
    with pytest.raises(DeskError, match=r"DATABASE_URL.*docker compose"):
        postgres.find_postgres()


def test_a_wrong_explicit_path_is_named(monkeypatch):
    monkeypatch.setenv("PG_BIN", "/nowhere")
    with pytest.raises(DeskError, match="PG_BIN=/nowhere"):
        postgres.find_postgres()


def test_a_deep_folder_has_its_sockets_elsewhere(var):
    deep = var / ("d" * 90) / "var"
    folders = Folders(deep)
    assert len(str(folders.valkey_socket)) <= LONGEST_SOCKET
    with Servers(deep) as servers:
        assert ask(servers, "SELECT 1") == 1
        assert folders.sockets.stat().st_uid == os.geteuid()
    wait_until_stopped(deep)
    shutil.rmtree(folders.sockets)


def test_a_path_with_blanks_works(var):
    with Servers(var / "my desk") as servers:
        assert ask(servers, "SELECT 1") == 1
        sockets = servers.folders.sockets
    wait_until_stopped(var / "my desk")
    shutil.rmtree(sockets)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: shows PostgreSQL under a private folder of root")
@pytest.mark.parametrize("programs", ["private", "public"])
def test_root_runs_it_under_a_private_folder_as_somebody_else(var, monkeypatch, programs):
    monkeypatch.setenv("TARAZU_WHEEL_SERVERS", "1")
    (var / "private").mkdir(mode=0o700)
    if programs == "private":  # as in a checkout below /root, where the wheel is private too
        package = postgres.find_postgres().bin.parents[1]
        ignored = shutil.ignore_patterns("include", "pginstall", "__pycache__")
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, var / "private" / folder.name, ignore=ignored)
        monkeypatch.setenv("PG_BIN", str(var / "private" / package.name / "pginstall18" / "bin"))
    with Servers(var / "private" / "var") as servers:
        status = Path(f"/proc/{pid_of(servers, 'postgres')}/status").read_text()
        assert status.split("Uid:")[1].split()[0] != "0"
        rights = int(status.split("CapEff:")[1].split()[0], 16)
        assert rights in {1 << CAP_DAC_READ_SEARCH, 1 << CAP_DAC_OVERRIDE}
        remember(servers, "private")
    wait_until_stopped(var / "private" / "var")
    assert (var / "private").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: starts a second time as another user")
def test_an_ordinary_user_runs_it_too(var):
    os.chown(var, 65534, 65534)
    program = (
        f"from trading.desk.servers import *; s = Servers(Path({str(var)!r})); s.attach(); print(s.state()['postgres'])"
    )
    nobody = pwd.getpwuid(65534)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(var)},
        # the interpreter of the tests may itself lie in a private folder: to pass through is all that is kept
        preexec_fn=lambda: become(nobody, see_private_folders=True),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15
    wait_until_stopped(var)
    assert (var / "postgres").stat().st_uid == 65534
