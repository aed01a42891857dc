"""Small questions to Valkey go in one trip, also while their caller does something else."""

import os

import pytest

from trading.valkey import Errand, on_errands, run_errands


def errand(found: list, *commands: tuple) -> Errand:
    return Errand("a test", commands, found.append)


def test_each_is_given_its_own_answers(valkey):
    one, other = [], []
    run_errands(errand(one, ("INCR", "a"), ("EXPIRE", "a", 60)), errand(other, ("HMGET", "h", "x", "y")))
    assert (one, other) == ([[1, 1]], [[[None, None]]])


def test_what_is_asked_meanwhile_does_not_meet_what_is_under_way(valkey):
    one, other = [], []
    with on_errands(errand(one, ("INCR", "a"))):
        run_errands(errand(other, ("SET", "b", "c"), ("GET", "b")))
        assert not one
    assert (one, other) == ([[1]], [[b"OK", b"c"]])


def test_a_line_that_has_ended_is_opened_anew(valkey):
    run_errands(errand([], ("INCR", "a")))
    valkey.client_kill_filter(_type="normal", skipme=True)
    found: list = []
    run_errands(errand(found, ("INCR", "a")))
    assert found == [[2]]


def test_away_or_refused_nothing_is_known_and_the_next_is_answered(valkey, settings):
    found: list = []
    run_errands(errand(found, ("INCR", "a"), ("HMGET", "a", "x"), ("INCR", "a")))  # a number is no hash
    where, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    run_errands(errand(found, ("INCR", "a")))
    settings.REDIS_URL = where
    run_errands(errand(found, ("GET", "a")))
    assert found == [None, None, [b"2"]]


def test_what_goes_wrong_meanwhile_is_told(valkey):
    found: list = []
    with pytest.raises(KeyError), on_errands(errand(found, ("INCR", "a"))):
        raise KeyError("trouble")
    run_errands(errand(found, ("GET", "a")))
    assert found == [[b"1"]]


def test_a_process_that_is_forked_has_a_line_of_its_own(valkey):
    """Two that read from one line would each be given what the other asked for: another share's price."""
    mine: list = []
    run_errands(errand(mine, ("CLIENT", "ID")))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        theirs: list = []
        run_errands(errand(theirs, ("CLIENT", "ID")))
        os.write(writing, str(theirs[0][0]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 40)) not in mine[0]
    run_errands(errand(mine, ("CLIENT", "ID")))
    assert mine[0] == mine[1]
