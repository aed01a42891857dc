"""SIGKILL at every named point, a restart, and both sides agree: a sample of the campaign of `make prove`."""

from pathlib import Path

import pytest
from django.db import connections

from tests.prove import crash
from tests.prove.designs import DESIGNS
from trading.domain.crashpoint import POINTS

GROUPS = sorted({point.split(".")[0] for point in POINTS})


@pytest.fixture
def stage(transactional_db, valkey):
    with crash.stage() as stage:
        yield stage
    connections.close_all()


def test_every_point_is_in_the_code_once():
    assert crash.points_in_code(Path(__file__).resolve().parents[2]) == dict.fromkeys(POINTS, 1)


@pytest.mark.parametrize("group", GROUPS)
def test_a_desk_that_dies_there_doubles_nothing_and_loses_nothing(stage, group):
    for point in [point for point in POINTS if point.startswith(f"{group}.")][::2]:
        outcome = crash.run(stage, crash.trial_of(point, 0))
        assert point in outcome.killed, f"{point} was never reached"
        assert not outcome.trouble, (point, outcome.trouble)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_oracle_sees_through_a_broken_design(stage, name):
    assert crash.caught(stage, name) is not None
