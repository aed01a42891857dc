"""The servers under the tests: the desk's own PostgreSQL and Valkey on a throw-away folder, or yours by TEST_*_URL.

They start beside the collection of tests and stop with the run, however it ends. Each worker has its own database.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as examples

from trading.desk.errors import DeskError
from trading.desk.servers import Servers

# A busy machine is no failure: how long an example takes says nothing about whether it holds.
examples.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("desk")

_servers: Servers | None = None


def _own_servers() -> bool:
    given = [bool(os.environ.get(name)) for name in ("TEST_DATABASE_URL", "TEST_REDIS_URL")]
    if any(given) and not all(given):
        raise pytest.UsageError("set both TEST_DATABASE_URL and TEST_REDIS_URL, or neither")
    return not any(given)


def pytest_configure(config: pytest.Config) -> None:
    global _servers
    from django.conf import settings

    if config.option.collectonly or not _own_servers():
        return
    _servers = Servers(Path(settings.VAR), throwaway=True)
    if hasattr(config, "workerinput"):
        return  # a worker joins when its first test asks for a database
    try:
        _servers.attach(wait=False)
    except DeskError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure() -> None:
    if _servers is not None:
        _servers.release()


# Whole desks of six processes each, the longest of all: they begin first, one after the other on one worker, while the
# others do what needs a processor. Two at once would only wait for each other.
DESKS = ("tests/flows/test_kill_any_process.py", "tests/flows/test_first_start.py")
# Then whatever takes long in few tests, or it would begin last and be waited for.
LONG = (
    "tests/prove/test_crash_points.py", "tests/browser/test_live_page.py", "tests/unit/backtest/test_coded.py",
    "tests/races/test_races.py", "tests/property/test_indicators_laws.py", "tests/flows/test_socket.py",
    "tests/desk/test_servers.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate((*DESKS, *LONG))}
    items.sort(key=lambda item: order.get(item.nodeid.split("::", 1)[0], len(order)))  # stable: the rest stays as it is


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files as they are, the desks together as one. Not asked where a run has no workers."""
    from xdist.scheduler import LoadFileScheduling

    class DesksTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "desks" if file in DESKS else file

    config.option.loadscopereorder = False  # it would begin with the most tests, not with the longest
    return DesksTogether(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def servers() -> None:
    """PostgreSQL and Valkey answer."""
    if _servers is not None:
        _servers.wait()
        _servers.attach()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: None, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Before pytest-django makes the databases, the servers must answer."""


@pytest.fixture
def valkey(servers: None) -> Iterator["redis.Redis"]:
    """This worker's own database of Valkey, empty before and after."""
    from django.conf import settings

    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly what was not tested, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"skipped: {len(skipped)}")
    for report in skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.line(f"{report.nodeid}: {why.removeprefix('Skipped: ')}")


@pytest.fixture(autouse=True)
def rows_of_migrations(request: pytest.FixtureRequest) -> None:
    """The house's limits come with a migration; a test that truncates the tables takes them from those after it."""
    if request.node.get_closest_marker("django_db") or {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue("db")
        from tests.factories.world import house_policy

        house_policy()
