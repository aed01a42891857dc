"""What goes wrong on a trip: nothing of it is kept, nobody is told that it was, and the next trip arrives."""

import threading
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from trading import trips
from trading.statements import ask, run, tell, together

WRITE = "INSERT INTO trip_log (said) VALUES (%(said)s::text)"
BROKEN = "SELECT 1 / %(zero)s::int"


@pytest.fixture(autouse=True, params=[True, False], ids=["on_trips", "by_cursors"])
def log(request, monkeypatch, django_db_setup, django_db_blocker):
    """Every one of these holds with a version of psycopg that nobody has read, too. They write to a table of their own:
    the others need not be emptied after each."""
    monkeypatch.setattr(trips, "SUITS", request.param)
    with django_db_blocker.unblock():
        run_plain("CREATE TABLE trip_log (said text UNIQUE CHECK (said <> 'never'))")
        connection.close()  # a line that has prepared nothing yet
        yield
        connection.close()
        run_plain("DROP TABLE trip_log")
        connection.close()


def run_plain(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def said() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT said FROM trip_log ORDER BY said")
        return [one for (one,) in cursor.fetchall()]


def elsewhere(statement: str) -> list[tuple[Any, ...]]:
    found: list[Any] = []

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            found.extend(cursor.fetchall() if cursor.description else [])
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    return found


def test_the_psycopg_of_this_desk_has_been_read():
    """It fails with an upgrade: read what `trading/trips.py` takes of psycopg's pipeline and plans in the new version,
    run these tests with it named in READ, and leave it there."""
    assert psycopg.__version__ in trips.READ


@pytest.mark.parametrize("begun", [False, True])
def test_statements_that_an_error_kept_from_being_prepared_are_prepared_the_next_time(begun):
    asked = [f"SELECT {number}, %(word)s::text" for number in range(4)]

    def trip(zero: int) -> list[int]:
        with together():
            first = ask(asked[0], {"word": "a"})
            broken = ask(BROKEN, {"zero": zero})
            others = [ask(one, {"word": "a"}) for one in (*asked, *asked)]
        return [rows()[0][0] for rows in (first, broken, *others)]

    for zero in (0, 1, 0, 1):
        try:
            if begun:
                with transaction.atomic():
                    found = trip(zero)
            else:
                found = trip(zero)
        except DatabaseError:
            assert zero == 0
        else:
            assert found == [0, 1, 0, 1, 2, 3, 0, 1, 2, 3]
    assert [run(one, {"word": "a"})[0][0] for one in asked] == [0, 1, 2, 3]


def test_no_transaction_begins_on_a_trip_that_began_without():
    heard = []
    with pytest.raises(transaction.TransactionManagementError), together(), transaction.atomic():
        transaction.on_commit(lambda: heard.append("kept"))
        tell(WRITE, {"said": "one"})
    assert said() == [] and heard == []


def test_an_end_that_the_database_turns_into_an_undoing_is_an_error():
    heard = []
    with pytest.raises(DatabaseError), transaction.atomic():
        transaction.on_commit(lambda: heard.append("kept"))
        with together() as trip:
            tell(WRITE, {"said": "one"})
            broken = ask(BROKEN, {"zero": 0})
            with pytest.raises(Exception):  # noqa: B017 - somebody who takes no notice of it
                with together():
                    broken()
            trip.commit()
    assert said() == [] and heard == []


def test_nothing_ends_within_a_step_or_after_the_end():
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic(), together() as trip:
        with transaction.atomic():
            tell(WRITE, {"said": "one"})
            trip.commit()
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        tell(WRITE, {"said": "two"})
        transaction.set_rollback(True)
        with together() as trip:
            tell(WRITE, {"said": "three"})
            trip.commit()
    assert said() == []
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic(), together() as trip:
        tell(WRITE, {"said": "four"})
        trip.commit()
        tell(WRITE, {"said": "five"})
    assert said() in ([], ["four"])


def test_a_wrapper_that_raises_leaves_nothing_behind():
    def refuse(execute, statement, parameters, many, context):
        if parameters == {"said": "two"}:
            raise RuntimeError("no")
        return execute(statement, parameters, many, context)

    with pytest.raises(RuntimeError), connection.execute_wrapper(refuse), transaction.atomic(), together() as trip:
        tell(WRITE, {"said": "one"})
        tell(WRITE, {"said": "two"})
        trip.commit()
    assert said() == []
    with transaction.atomic(), together() as trip:
        tell(WRITE, {"said": "two"})
        trip.commit()
    assert said() == ["two"]


def test_a_connection_that_prepares_nothing_is_asked_without():
    connection.ensure_connection()
    connection.connection.prepare_threshold = None
    with transaction.atomic(), together() as trip:
        one, two = ask("SELECT 1"), ask("SELECT %s::int", [2])
        tell(WRITE, {"said": "one"})
        trip.commit()
    assert one() == [(1,)] and two() == [(2,)] and said() == ["one"]


@pytest.mark.parametrize("spoilt", ["DEALLOCATE ALL", "ALTER TABLE trip_log ALTER COLUMN said TYPE varchar(40)"])
@pytest.mark.parametrize("on_a_trip", [False, True])
def test_plans_that_are_no_good_any_more_are_made_anew(spoilt, on_a_trip):
    statement = "SELECT said FROM trip_log WHERE said = %s::text"

    def look() -> list[tuple[Any, ...]]:
        if not on_a_trip:
            return run(statement, ["one"])
        with together():
            rows = ask(statement, ["one"])
        return rows()

    tell(WRITE, {"said": "one"})
    assert look() == [("one",)]
    if spoilt.startswith("ALTER"):
        elsewhere(spoilt)
    else:
        connection.connection.pgconn.exec_(spoilt.encode())
    try:
        assert look() == [("one",)]
    except DatabaseError:
        assert look() == [("one",)]
    assert look() == [("one",)]


def test_a_step_undone_on_a_trip_forgets_no_plan_that_is_made_after_it():
    if not trips.SUITS:
        return  # psycopg's own cursors fail once, and their line is given up
    with transaction.atomic(), together():
        tell(WRITE, {"said": "one"})
        with pytest.raises(RuntimeError), transaction.atomic():
            tell(WRITE, {"said": "two"})
            raise RuntimeError
    for _ in range(2):
        with together():
            one = ask("SELECT 1 + %s::int", [1])
        assert one() == [(2,)] and said() == ["one"]
        assert run("SELECT 2 + %s::int", [1]) == [(3,)]


def test_more_statements_than_a_connection_keeps_all_arrive():
    connection.ensure_connection()
    connection.connection.prepared_max = 3
    for _ in range(3):
        with together():
            asked = [ask(f"SELECT {number} + %s::int", [number]) for number in (*range(8), *range(8))]
        assert [rows()[0][0] for rows in asked] == [2 * number for number in (*range(8), *range(8))]
        assert run("SELECT 0 + %s::int", [5]) == [(5,)]
    ((kept,),) = run("SELECT count(*) FROM pg_prepared_statements")
    assert kept <= 5


def test_a_trip_with_a_lot_in_both_directions_arrives():
    word = "x" * 2_000_000
    with transaction.atomic(), together() as trip:
        asked = [ask("SELECT repeat(%(word)s::text, 2)", {"word": word}) for _ in range(6)]
        tell(WRITE, {"said": "one"})
        trip.commit()
    assert [len(rows()[0][0]) for rows in asked] == [4_000_000] * 6 and said() == ["one"]


def test_a_trip_within_another_begins_when_all_of_that_has_arrived():
    if not trips.SUITS:
        return  # cursors send each statement whole
    word = "x" * 2_000_000
    with transaction.atomic(), together() as trip:
        asked = [ask("SELECT repeat(%(word)s::text, 2)", {"word": word}) for _ in range(6)]
        with together():
            tell(WRITE, {"said": "one"})
        trip.commit()
    assert [len(rows()[0][0]) for rows in asked] == [4_000_000] * 6 and said() == ["one"]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_line_that_is_cut_on_a_trip_keeps_nothing_and_the_next_one_arrives(after):
    """Cut before the first statement, between two, and before the end."""
    heard = []
    with pytest.raises(OperationalError), transaction.atomic():
        transaction.on_commit(lambda: heard.append("kept"))
        with together() as trip:
            for place in range(3):
                if place == after:
                    ask("SELECT pg_terminate_backend(pg_backend_pid())")
                tell(WRITE, {"said": str(place)})
            trip.commit()
    connection.close_if_unusable_or_obsolete()
    assert said() == [] and heard == []
    with transaction.atomic(), together() as trip:
        tell(WRITE, {"said": "one"})
        trip.commit()
    assert said() == ["one"]
