"""Prepared statements give and write what the ORM would."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from execution.models import Group
from strategies.models import Signal
from tests.flows.full_desk import full_desk
from trading.api.models import IdempotencyRecord
from trading.portfolio.models import Portfolio
from trading.statements import FORGETTABLE, Select, ask, insert, run, run_forgettable, tell, together

pytestmark = pytest.mark.django_db

SIGNALS = Select(
    Signal, "portfolio__account", "instrument__underlying", "deployment__version__contract",
    where="WHERE t.portfolio_id = %(portfolio)s ORDER BY t.id",
)  # fmt: skip


@pytest.fixture
def desk():
    return full_desk(name="Statements")


def test_rows_are_those_of_the_orm_with_what_they_point_to(desk):
    wanted = list(Signal.objects.filter(portfolio=desk.world.portfolio).order_by("pk").select_related(*SIGNALS.related))
    with CaptureQueriesContext(connection) as asked:
        found = SIGNALS.rows({"portfolio": desk.world.portfolio.pk})
        for ours, theirs in zip(found, wanted, strict=True):
            for path in ("", "portfolio", "portfolio.account", "instrument", "deployment.version.contract"):
                one, other = ours, theirs
                for name in filter(None, path.split(".")):
                    one, other = getattr(one, name), getattr(other, name)
                values = [field.attname for field in one._meta.concrete_fields]
                assert [getattr(one, name) for name in values] == [getattr(other, name) for name in values]
            assert ours.instrument.underlying is None
    assert wanted and len(asked) == 1


def test_a_row_that_is_not_there_is_told_as_the_orm_tells_it():
    by_number = Select(Portfolio, where="WHERE t.id = %s")
    assert by_number.first([0]) is None
    with pytest.raises(Portfolio.DoesNotExist):
        by_number.get([0])


def test_new_rows_are_written_together_and_read_back_the_same(desk):
    old = Portfolio.objects.get(pk=desk.world.portfolio.pk)
    first = Group.objects.filter(portfolio=old).first()
    assert first is not None
    trade = Group(
        portfolio=old, instrument=first.instrument, product="DELIVERY", side="BUY", created_at=first.created_at
    )
    copy = Portfolio(
        owner=old.owner, name="Another", account=old.account, opening_cash_paise=5, created_at=old.created_at
    )
    insert(trade, copy)
    assert not copy._state.adding and not trade._state.adding
    for one in (trade, copy):
        kept = type(one).objects.get(pk=one.pk)
        names = [field.attname for field in one._meta.concrete_fields]
        assert [getattr(kept, name) for name in names] == [getattr(one, name) for name in names]


def test_only_a_transaction_of_its_own_does_not_wait_for_the_disk():
    statement = FORGETTABLE + "SELECT 1 FROM quick"
    tell("SET LOCAL synchronous_commit TO on")
    run_forgettable(statement, {})  # the test's own transaction is open: it must stay as safe as it was
    assert run("SHOW synchronous_commit") == [("on",)]
    run(statement, {"alone": True})
    assert run("SHOW synchronous_commit") == [("off",)]


EVERYTHING = """
SELECT %(word)s::text, %(number)s::bigint, %(nothing)s::int, %(many)s::bigint[], %(words)b::text[], %(one)s::uuid,
       %(at)s::timestamptz, %(said)s::jsonb ->> 'a', '100%%', %(word)s::text, '{"b": 1}'::json
"""
VALUES = {
    "word": "it's 5 % \\ of $1", "number": 2**40, "nothing": None, "many": [1, 2**40], "words": ["a,b", '"'],
    "one": UUID(int=5), "at": datetime(2026, 2, 16, 5, 30, tzinfo=UTC), "said": '{"a": "x"}',
}  # fmt: skip


def test_what_goes_together_is_answered_as_what_goes_alone(desk):
    alone = run(EVERYTHING, VALUES)
    mine = {"portfolio": desk.world.portfolio.pk}
    for _ in range(2):  # prepared, then by its name
        with together() as trip:
            everything = ask(EVERYTHING, VALUES)
            trip.leave()
            signals, places = SIGNALS.ask(mine), ask("SELECT %s::int + %s::int", [1, 2])
            assert everything() == alone  # read while others are under way
        assert places() == [(3,)]
        assert signals() == SIGNALS.rows(mine)
    with CaptureQueriesContext(connection) as asked, together():
        everything = ask(EVERYTHING, VALUES)
    assert everything() == alone and len(asked) == 1


def test_whoever_listens_to_statements_hears_those_that_go_together():
    heard = []

    def listen(execute, statement, parameters, many, context):
        heard.append(statement)
        return execute(statement, parameters, many, context)

    with connection.execute_wrapper(listen), together():
        one = ask("SELECT 1")
    assert heard == ["SELECT 1"] and one() == [(1,)]


RECORD = """
INSERT INTO api_idempotencyrecord (owner_id, key, request_hash, created_at)
VALUES (%(owner)s, %(key)s, 'x', %(at)s::timestamptz)
"""


@pytest.mark.django_db(transaction=True)
def test_a_transaction_may_end_with_its_last_trip():
    owner = full_desk(name="Trips").world.user
    rung: list[str] = []

    def record(*keys: str) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: rung.append(keys[-1]))
            with together() as trip:
                for key in keys:
                    tell(RECORD, {"owner": owner.pk, "key": key, "at": VALUES["at"]})
                    trip.leave()
                trip.commit()

    record("one", "two")
    with pytest.raises(IntegrityError):
        record("three", "one")
    with pytest.raises(DataError):
        record("four", "x" * 300, "six", "seven")
    record("five")
    assert rung == ["two", "five"]
    assert set(IdempotencyRecord.objects.values_list("key", flat=True)) == {"one", "two", "five"}


@pytest.mark.django_db(transaction=True)
def test_the_end_of_a_transaction_that_had_failed_is_no_commit():
    with pytest.raises(InternalError), transaction.atomic():
        with pytest.raises(DataError), together():
            tell("SELECT 1 / %s::int", [0])
        with together() as trip:
            trip.commit()
    assert run("SELECT 1") == [(1,)]
