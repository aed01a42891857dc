"""Statements that an order waits for: planned once a connection, one round trip, no query to compile.

Everything else uses the ORM. What is used here works inside the running transaction and is seen by whatever counts or
logs queries; a row that comes back is the same model instance that the ORM would make.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache, lru_cache, partial
from threading import local
from typing import Any, Generic, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, models, transaction
from django.db.models.base import ModelState
from psycopg import errors
from psycopg.pq import TransactionStatus

from trading import trips
from trading.trips import Answer, Trip

_local = local()
_PLAN_IS_GONE = (errors.InvalidSqlStatementName, errors.FeatureNotSupported)
"""Nobody knows the statement that was prepared; a column that it gives is of another type since a migration."""
M = TypeVar("M", bound=models.Model)


class _Prepared(psycopg.Cursor[Any]):
    """Parameters go to the server apart from the statement, so that its plan can be kept."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = True, binary: bool | None = None
    ) -> Any:
        return super().execute(query, params, prepare=prepare, binary=binary)


@contextmanager
def prepared() -> Iterator[Any]:
    """A cursor of Django's connection whose statements are prepared. A parameter without a context needs its cast."""
    connection.ensure_connection()
    raw: Any = _Prepared(connection.connection)
    with _a_line_that_knows_its_plans():
        with connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw) as cursor:
            yield cursor


@contextmanager
def _a_line_that_knows_its_plans() -> Iterator[None]:
    """One that believes in plans which are gone is given up: whoever asks next has another. An undone transaction makes
    a line plan anew, and one statement alone undoes none: it would fail on this line for as long as there is one."""
    try:
        yield
    except DatabaseError as error:
        if isinstance(error.__cause__, _PLAN_IS_GONE) and not connection.in_atomic_block:
            connection.connection.close()
            connection.close()
        raise


@contextmanager
def together() -> Iterator[Trip]:
    """What is told and asked here goes out without waiting for the answer to what went before: one round trip.

    Inside a transaction, or for questions alone. An error of any of it is raised by the next answer that is waited
    for, or at the end.
    """
    wrapper: Any = connections[DEFAULT_DB_ALIAS]
    wrapper.ensure_connection()
    before: Trip | None = getattr(_local, "trip", None)
    line: Any = wrapper.connection
    around = before if before is not None and before.connection is line else None
    with _a_line_that_knows_its_plans(), wrapper.wrap_database_errors:
        if around is not None:
            around.arrive()
        with line.pipeline() as pipeline:
            trip = _local.trip = around or Trip(wrapper, pipeline)
            try:
                yield trip
            finally:
                _local.trip = before
        if around is None and trips.SUITS:
            _forget_plans_of_the_past(line)


def _forget_plans_of_the_past(line: Any) -> None:
    """A step that was undone on a trip makes psycopg forget its plans, and the database with the statement after the
    next: whatever is planned until then would be gone while it is believed in."""
    plans = line._prepared
    if None in plans._to_flush and line.pgconn.transaction_status != TransactionStatus.INERROR:
        line.wait(plans.maintain_gen(line))


def _send(statement: str, parameters: Any) -> Answer | None:
    """Put a statement on the trip that is open, where there is one and nobody keeps a log of what is asked."""
    trip: Trip | None = getattr(_local, "trip", None)
    if trip is None or not trip.is_open():
        return None
    if not trip.wrapper.execute_wrappers:
        return trip.send(statement, parameters)
    execute: Any = trip.send
    for wrapper in reversed(trip.wrapper.execute_wrappers):
        execute = partial(wrapper, execute)
    answer: Answer = execute(statement, parameters, False, {"connection": connection, "cursor": None})
    return answer


def tell(statement: str, parameters: Any = None) -> None:
    """Run a statement whose answer nobody needs."""
    if _send(statement, parameters) is None:
        with prepared() as cursor:
            cursor.execute(statement, parameters)


def run(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a statement that gives some."""
    with prepared() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


Rows = Callable[[], list[tuple[Any, ...]]]


def ask(statement: str, parameters: Any = None) -> Rows:
    """Run a statement and take its rows later. Inside `together`: once that is over, all its questions have been one
    round trip."""
    answer = _send(statement, parameters)
    if answer is not None:
        return answer.rows
    with ExitStack() as open_until_read:
        cursor = open_until_read.enter_context(prepared())
        cursor.execute(statement, parameters)
        kept = open_until_read.pop_all()

    def rows() -> list[tuple[Any, ...]]:
        with kept:
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    return rows


FORGETTABLE = """
WITH quick AS MATERIALIZED (
    SELECT CASE WHEN %(alone)s THEN set_config('synchronous_commit', 'off', true) END
)
"""
"""Begins a writing statement that reads FROM quick: what a crash forgets of it was not used, or is found again."""


def run_forgettable(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that begins with FORGETTABLE: its commit, if it has its own, waits for no disk."""
    return run(statement, {**parameters, "alone": not connection.in_atomic_block})


def in_a_transaction() -> bool:
    """Whether the caller is inside one: then what it writes belongs there, and not beside what others write."""
    return bool(connection.in_atomic_block)


def whole() -> AbstractContextManager[None]:
    """For one statement that is all or nothing by itself: alone it needs no trip to begin and none to commit. Within
    somebody's transaction it is a part that may fail without the rest."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


@contextmanager
def alone() -> Iterator[None]:
    """For one statement that is a transaction of its own: what it wrote has committed when it returns. RuntimeError
    within somebody's transaction, which could still undo it."""
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic(durable=True):  # a test's own is none
        yield


class Select(Generic[M]):
    """Whole rows of a model with the rows they point to (`related`, as in select_related). `where` calls them `t`.

    Compiled at the first use: the models of all apps must be known.
    """

    def __init__(self, model: type[M], *related: str, where: str) -> None:
        self.model, self.related, self.where = model, related, where
        self._plan: tuple[str, list[tuple[Any, ...]]] | None = None

    def rows(self, parameters: Any) -> list[M]:
        statement, parts = self._plan or self._compile()
        return [_built(parts, row) for row in run(statement, parameters)]

    def ask(self, parameters: Any) -> Callable[[], list[M]]:
        """The rows, to be taken later (see the function of this name)."""
        statement, parts = self._plan or self._compile()
        rows = ask(statement, parameters)
        return lambda: [_built(parts, row) for row in rows()]

    def first(self, parameters: Any) -> M | None:
        found = self.rows(parameters)
        return found[0] if found else None

    def get(self, parameters: Any) -> M:
        """Raises the model's DoesNotExist."""
        found = self.rows(parameters)
        if not found:
            raise self.model.DoesNotExist(f"No {self.model._meta.object_name} matches.")  # type: ignore[attr-defined]
        return found[0]

    def _and_more(self, aliases: Sequence[str]) -> list[str]:
        """Columns after those of the models."""
        return []

    def _compile(self) -> tuple[str, list[tuple[Any, ...]]]:
        quote = connection.ops.quote_name
        columns: list[str] = []
        joins: list[str] = []
        parts: list[tuple[Any, ...]] = []
        known: dict[str, tuple[int, str, Any, bool]] = {}  # path: its part, alias, model, whether it may be missing

        def add(path: str, model: Any, alias: str, parent: int | None, field: Any, optional: bool) -> None:
            begin = len(columns)
            fields = model._meta.concrete_fields
            columns.extend(f"{alias}.{quote(one.column)}" for one in fields)
            converters = [
                (place, convert, one.get_col(model._meta.db_table))
                for place, one in enumerate(fields)
                for convert in (
                    *connection.ops.get_db_converters(one.get_col(model._meta.db_table)),
                    *one.get_db_converters(connection),
                )
            ]
            names = [one.attname for one in fields]
            pk = fields.index(model._meta.pk)
            known[path] = (len(parts), alias, model, optional)
            parts.append((model, names, begin, begin + len(fields), converters, pk, parent, field))

        add("", self.model, "t", None, None, False)
        for name in self.related:
            path = ""
            for step in name.split("__"):
                parent, above, model, optional = known[path]
                field = model._meta.get_field(step)
                path = f"{path}__{step}".lstrip("_")
                if path in known:
                    continue
                optional = optional or field.null
                alias, target = f"t_{path}", field.related_model
                kind = "LEFT JOIN" if optional else "JOIN"
                joins.append(
                    f"{kind} {quote(target._meta.db_table)} {alias} ON {alias}.{quote(target._meta.pk.column)} ="
                    f" {above}.{quote(field.column)}"
                )
                add(path, target, alias, parent, field, optional)
        table = f"{quote(self.model._meta.db_table)} t"
        columns += self._and_more([alias for _, alias, _, _ in known.values()])
        statement = " ".join(("SELECT", ", ".join(columns), "FROM", table, *joins, self.where))
        self._plan = statement, parts
        return self._plan


class Versioned(Select[M]):
    """The same with the version of each row and of those it points to: while that is the same, so are they, and who
    keeps them asks for the version alone (`version_of`)."""

    def with_versions(self, parameters: Any) -> list[tuple[M, str]]:
        statement, parts = self._plan or self._compile()
        return [(_built(parts, row), row[-1]) for row in run(statement, parameters)]

    def _and_more(self, aliases: Sequence[str]) -> list[str]:
        return [version_of(*aliases)]


def version_of(*aliases: str) -> str:
    """What says, in a statement, as of when rows are: every change of any of them gives another text."""
    return f"concat_ws('.', {', '.join(f'{alias}.xmin, {alias}.ctid' for alias in aliases)})"


def _built(parts: list[tuple[Any, ...]], row: Sequence[Any]) -> Any:
    made: list[Any] = []
    for model, names, begin, end, converters, pk, parent, field in parts:
        values = list(row[begin:end])
        one = None
        if values[pk] is not None:
            for place, convert, expression in converters:
                values[place] = convert(values[place], expression, connection)
            one = model.from_db(connection.alias, names, values)
        made.append(one)
        if parent is not None and made[parent] is not None:
            field.set_cached_value(made[parent], one)
    return made[0]


class Frozen:
    """A question of the ORM about one number, compiled once: `make` gives its query for any number."""

    NUMBER = 7_777_777_777_777

    def __init__(self, make: Callable[[int], models.QuerySet[Any, Any]]) -> None:
        self._make = make
        self._plan: tuple[str, list[Any]] | None = None

    def ask(self, number: int) -> Rows:
        """The rows, to be taken later (see the function of this name)."""
        if self._plan is None:
            compiled, given = self._make(self.NUMBER).query.sql_with_params()
            assert self.NUMBER in given
            self._plan = compiled, list(given)
        statement, parameters = self._plan
        return ask(statement, [number if one == self.NUMBER else one for one in parameters])


def new_row(model: type[M], **values: Any) -> M:
    """A row that is not stored yet, as its model makes one, without asking each of its fields: `values` by the names of
    fields, all else its default. A model that makes more of itself (files, signals) is not made so."""
    plain, made, relations = _defaults(model)
    row = model.__new__(model)
    row._state = ModelState()
    row.__dict__.update(plain)
    for name, make in made:
        row.__dict__[name] = make()
    for name, value in values.items():
        if name in relations:
            row._state.fields_cache[name] = value
            row.__dict__[relations[name]] = None if value is None else value.pk
        else:
            row.__dict__[name] = value
    return row


@cache
def _defaults(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]], dict[str, str]]:
    """By attribute: what never differs, what is made anew for each; by relation its attribute."""
    meta: Any = model._meta
    plain, made = {}, []
    for field in meta.concrete_fields:
        if callable(field.default):
            made.append((field.attname, field.get_default))
        else:
            plain[field.attname] = field.get_default()
    return plain, made, {one.name: one.attname for one in meta.concrete_fields if one.is_relation}


def as_json(*rows: models.Model) -> str:
    """New rows of one table as `from_json` reads them."""
    return _ENCODE(as_columns(*rows))


def as_columns(*rows: models.Model) -> list[dict[str, Any]]:
    """Rows of one table, each as what its columns hold."""
    columns = _columns(type(rows[0])) if rows else ()
    return [{column: getattr(row, name) for column, name in columns} for row in rows]


@cache
def _columns(model: type[models.Model]) -> list[tuple[str, str]]:
    return [(str(one.column), one.attname) for one in model._meta.local_concrete_fields]


_ENCODE = json.JSONEncoder(default=str).encode


def from_json(
    model: type[models.Model], name: str, *, but: Mapping[str, str] | None = None, beside: str = ""
) -> str:  # fmt: skip
    """The statement that writes all rows which the parameter `name` has as JSON: many are one statement, and its plan
    is the same however many. All columns are named, for a table fills nothing in by itself. `but`: columns that hold
    something else, as expressions over the given row, `r`, and what is joined `beside` it.
    """
    meta: Any = model._meta
    quote = connection.ops.quote_name
    columns = [one for one in meta.local_concrete_fields if not one.generated]
    names, table = ", ".join(quote(one.column) for one in columns), quote(meta.db_table)
    values = ", ".join((but or {}).get(one.column) or f"r.{quote(one.column)}" for one in columns)
    rows = f"jsonb_populate_recordset(NULL::{table}, %({name})s::jsonb) r {beside}"
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {rows}"  # noqa: S608 - our own names


def insert(*new: models.Model) -> None:
    """Write new rows in one statement. Only the last may leave its number to the database; it is filled in."""
    numbered = new[-1].pk is None
    statement, fields = _insertion(tuple(type(one) for one in new), numbered)
    parameters = [
        getattr(one, field.attname) if plain else field.get_db_prep_save(field.pre_save(one, True), connection)
        for one, columns in zip(new, fields, strict=True)
        for field, plain in columns
    ]
    if numbered:
        ((new[-1].pk,),) = run(statement, parameters)
    else:
        tell(statement, parameters)
    for one in new:
        one._state.adding, one._state.db = False, connection.alias


def store(row: models.Model) -> None:
    """Write every column of a row that is locked, in one statement."""
    statement, fields = _update(type(row))
    parameters = [
        getattr(row, field.attname) if plain else field.get_db_prep_save(field.pre_save(row, False), connection)
        for field, plain in fields
    ]
    tell(statement, [*parameters, row.pk])


@lru_cache(maxsize=64)
def _update(kind: type[models.Model]) -> tuple[str, list[tuple[Any, bool]]]:
    quote = connection.ops.quote_name
    meta: Any = kind._meta
    fields = [(one, type(one) in _PLAIN) for one in meta.local_concrete_fields if not one.primary_key]
    columns = ", ".join(f"{quote(one.column)} = %s" for one, _ in fields)
    return f"UPDATE {quote(meta.db_table)} SET {columns} WHERE {quote(meta.pk.column)} = %s", fields  # noqa: S608


# What these hold is what the database is given.
_PLAIN = frozenset({models.CharField, models.TextField, models.BooleanField, models.UUIDField, models.ForeignKey})


@lru_cache(maxsize=64)
def _insertion(kinds: tuple[type[models.Model], ...], numbered: bool) -> tuple[str, list[list[tuple[Any, bool]]]]:
    quote = connection.ops.quote_name
    statements, fields = [], []
    for place, kind in enumerate(kinds):
        meta: Any = kind._meta
        leave_out = meta.pk if numbered and place == len(kinds) - 1 else None
        columns = [one for one in meta.local_concrete_fields if one is not leave_out and not one.generated]
        fields.append([(one, type(one) in _PLAIN) for one in columns])
        names = ", ".join(quote(one.column) for one in columns)
        marks = ", ".join(["%s"] * len(columns))
        statements.append(f"INSERT INTO {quote(meta.db_table)} ({names}) VALUES ({marks})")  # noqa: S608 - our own names
    before = ", ".join(f"w{place} AS ({statement})" for place, statement in enumerate(statements[:-1]))
    number = f" RETURNING {quote(meta.pk.column)}" if numbered else ""
    return f"{f'WITH {before} ' if before else ''}{statements[-1]}{number}", fields
