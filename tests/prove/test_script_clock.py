"""What a trial by script is told of the time: by its process, by its database, and by nothing else."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from execution.models import OffsetMark
from tests.factories import InstrumentFactory
from tests.prove.script_clock import STEP_S, script_time
from trading.domain.clock import running_s
from trading.marketdata.models import Instrument
from trading.statements import run

BEGINS = datetime(2046, 6, 15, 5, 30, tzinfo=UTC)
CLOCKS = "SELECT now(), transaction_timestamp(), statement_timestamp(), clock_timestamp()"
NO_FUNCTION = re.compile(r"\b(current_(timestamp|date|time)|localtime(stamp)?)\b|pg_catalog\.", re.IGNORECASE)
"""Ways to ask PostgreSQL for the time that no search path leads elsewhere."""


def told_in_a_thread() -> set[datetime]:
    try:
        return set(run(CLOCKS)[0])
    finally:
        connection.close()


@pytest.fixture
def machine(transactional_db):
    """After it both clocks are the machine's again, and nothing is left of the script's."""
    real = time.time, time.monotonic, time.sleep, timezone.now
    yield
    assert (time.time, time.monotonic, time.sleep, timezone.now) == real
    assert all(at.year < BEGINS.year for at in (*run(CLOCKS)[0], timezone.now()))
    assert run("SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, 'script_')") == [(0,)]


def test_both_clocks_of_a_desk_stand_where_the_script_does(machine):
    with script_time("test", BEGINS) as clock:
        asked = Instrument.objects.filter(pk=InstrumentFactory().pk).annotate(at=Now())
        for step in range(3):
            database = run(CLOCKS)[0]
            assert len(set(database)) == 1 and [one.at for one in asked.all()] == [database[0]]
            about = BEGINS + step * timedelta(seconds=STEP_S)
            for at in (database[0], timezone.now(), datetime.fromtimestamp(time.time(), UTC)):
                assert timedelta(0) <= at - about < timedelta(seconds=STEP_S / 2)
            assert database[0] < timezone.now()  # what the database has stamped is not of the future
            clock.step()


def test_every_connection_of_the_process_asks_the_script(machine):
    with script_time("test", BEGINS) as clock, ThreadPoolExecutor(1) as threads:
        clock.step()
        here = set(run(CLOCKS)[0])
        connection.close()
        assert set(run(CLOCKS)[0]) == here == threads.submit(told_in_a_thread).result()
        with transaction.atomic():
            assert set(run(CLOCKS)[0]) == here


def test_what_sleeps_or_measures_by_the_script_waits_for_nobody(machine):
    with script_time("test", BEGINS):
        steady, running = time.monotonic(), running_s()
        time.sleep(3600)
        assert timezone.now() - BEGINS > timedelta(hours=1)
        assert min(time.monotonic() - steady, running_s() - running) > 3600
        assert OffsetMark._meta.get_field("created_at").get_default() > BEGINS  # a default that was kept at the import


def test_the_product_asks_for_the_time_by_functions_alone():
    root = Path(__file__).resolve().parents[2]
    asking = [
        f"{path.relative_to(root)}: {line.strip()}"
        for package in ("trading", "accounts", "risk", "strategies", "execution")
        for path in sorted((root / package).rglob("*.py"))
        for line in path.read_text().splitlines() if NO_FUNCTION.search(line)
    ]  # fmt: skip
    assert asking == []
