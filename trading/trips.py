"""Statements on their way together: what psycopg's pipeline carries, without a cursor for each.

A cursor learns what it is asked anew for each statement, asks the socket after each, and waits for `BEGIN` alone. Here
a statement is read once a process, nothing leaves before it is asked to, and what begins or ends the transaction goes
with the rest. Prepared statements are those of the connection: a cursor of psycopg finds them, and the other way round.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, partial
from struct import Struct
from typing import Any

import psycopg
from django.db.transaction import TransactionManagementError
from psycopg import errors
from psycopg.adapt import Dumper, PyFormat, Transformer
from psycopg.pq import ExecStatus, Format, TransactionStatus

READ = frozenset({"3.3.9"})
"""Versions of psycopg whose pipeline and plans are as this module takes them to be. With another one statements go by
its cursors until somebody has read it: slower, and the same."""
SUITS = psycopg.__version__ in READ
_MARK = re.compile(r"%(?:\((?P<name>\w+)\))?(?P<kind>[sb%])")
_ANSWERED = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


class Texts(list[str]):
    """An array of text, written as the server keeps it: nothing in it is quoted by one side and unquoted by the other.
    For a mark `%(name)b`. psycopg's own arrays look for the type of their elements first, one by one."""


class _TextsDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["text"].array_oid

    def dump(self, obj: Any) -> bytes:
        parts = [_ARRAY.pack(1, 0, psycopg.adapters.types["text"].oid, len(obj), 1)] if obj else [_EMPTY]
        for one in obj:
            written = one.encode()
            parts += (_LENGTH.pack(len(written)), written)
        return b"".join(parts)


_LENGTH, _ARRAY = Struct("!i"), Struct("!iiIii")  # dimensions, whether some are missing, type, how many, from
_EMPTY = Struct("!iiI").pack(0, 0, psycopg.adapters.types["text"].oid)
psycopg.adapters.register_dumper(Texts, _TextsDumper)


def array_of(values: Iterable[Any]) -> str:
    """Numbers, ids or instants as an array that the statement casts: what needs no quotes."""
    return f"{{{','.join(map(str, values))}}}"


class Trip:
    """What is out on one pipeline of a connection; `wrapper` is Django's."""

    def __init__(self, wrapper: Any, pipeline: Any) -> None:
        self.wrapper, self.connection, self.pipeline = wrapper, wrapper.connection, pipeline
        self._transformer = Transformer(wrapper.connection)
        self._begun = self._ended = False
        self._autocommit = self.connection.autocommit
        self.trouble: Exception | None = None
        """What went wrong first: all that comes after it is left undone, and says only that."""

    def send(self, statement: str, parameters: Any, many: bool = False, context: Any = None) -> "Answer":
        """Put a statement in its place; it leaves with the others. (Django's wrappers give what they give a cursor.)"""
        connection, pipeline = self.connection, self.pipeline
        if not (connection.autocommit or self._begun):
            if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self._command(b"BEGIN", Answer(self))
            self._begun = True
        answer = Answer(self)
        query = _Query(statement, parameters, self._transformer)
        plans = connection._prepared
        state, name = plans.get(query, True)
        wire, how = connection.pgconn, {"param_formats": query.formats}
        if state.name == "NO":  # this connection keeps no plans
            leaves = partial(wire.send_query_params, query.query, query.values, param_types=query.types, **how)
        else:
            leaves = partial(wire.send_query_prepared, name, query.values, **how)
        if state.name == "SHOULD":
            pipeline.command_queue.append(partial(wire.send_prepare, name, query.query, param_types=query.types))
            pipeline.result_queue.append((Answer(self), None))
        pipeline.command_queue.append(leaves)
        key = plans.maybe_add_to_cache(query, state, name)
        pipeline.result_queue.append((answer, None if key is None else (key, state, name)))
        return answer

    def is_open(self) -> bool:
        """Whether what is asked now may go with it: nobody keeps a log, which wants a cursor.

        TransactionManagementError where the transaction is not the one it left with."""
        if self.wrapper.connection is not self.connection:
            return False
        if self._ended or self.connection.autocommit != self._autocommit:
            raise TransactionManagementError("a transaction begins before its trip, and its end is the last of it")
        return SUITS and not self.wrapper.queries_logged

    def leave(self) -> None:
        """Send what is in its place: the database works at it while its caller does something else."""
        if not SUITS:
            return
        queue, wire = self.pipeline.command_queue, self.connection.pgconn
        while queue:  # into libpq's own buffer; psycopg would ask the socket after each
            queue.popleft()()
        if wire.flush():  # more than the socket takes: while it waits, what comes is read
            self.connection.wait(self.pipeline._communicate_gen())

    def arrive(self) -> None:
        """Send what is in its place and read all answers. A pipeline within it would wait for them with a part of a
        long statement still here."""
        if SUITS:
            self.leave()
            self.connection.wait(self.pipeline._fetch_gen(flush=True))

    def commit(self) -> None:
        """End the transaction with this trip; where anything of it fails, nothing is kept. For whoever began it, as the
        last statement: the commit of Django's that follows finds nothing to do."""
        if self.wrapper.needs_rollback or self.wrapper.savepoint_ids:
            raise TransactionManagementError("a step within a transaction does not end it, nor one that has failed")
        if SUITS:
            self._command(b"COMMIT", _Commit(self))
        else:
            self.connection.execute("SELECT 1").fetchone()  # fails where the transaction has failed
        self._ended = True

    def _command(self, command: bytes, answer: "Answer") -> None:
        self.pipeline.command_queue.append(partial(self.connection.pgconn.send_query_params, command, None))
        self.pipeline.result_queue.append((answer, None))


class Answer:
    """What the database says to one statement: as much of a cursor as a pipeline needs."""

    __slots__ = ("_conn", "_result", "_trip")

    def __init__(self, trip: Trip) -> None:
        self._trip, self._conn = trip, trip.connection
        self._result: Any = None

    def rows(self) -> list[tuple[Any, ...]]:
        """Waits for them, where they have not come."""
        if self._result is None:
            self._trip.leave()
            self._conn.wait(self._trip.pipeline._fetch_gen(flush=True))
        if self._result is None:
            raise self._trip.trouble or errors.OperationalError("the trip ended before its answer")
        reader = Transformer(self._conn)
        reader.set_pgresult(self._result)
        found: list[tuple[Any, ...]] = reader.load_rows(0, self._result.ntuples, tuple)
        return found

    def _check_results(self, results: list[Any]) -> None:
        for result in results:
            if result.status in _ANSWERED:
                continue
            if self._trip.trouble is None:
                self._trip.trouble = errors.error_from_result(result, encoding=self._conn.pgconn._encoding)
            raise self._trip.trouble

    def _set_results(self, results: list[Any]) -> None:
        (self._result,) = results


class _Commit(Answer):
    """Of a transaction that had failed before the end is a rollback, and no error: here it is one."""

    __slots__ = ()

    def _set_results(self, results: list[Any]) -> None:
        super()._set_results(results)
        if self._result.command_status != b"COMMIT":
            raise errors.InternalError("the transaction was not kept: something of it had failed before")


class _Query:
    """A statement with its values, as the server takes them."""

    __slots__ = ("formats", "query", "types", "values")

    def __init__(self, statement: str, parameters: Any, transformer: Any) -> None:
        self.query, names, formats = _read(statement)
        if names is None:
            given = list(parameters or ())
        else:
            given = [parameters[name] for name in names] if isinstance(parameters, Mapping) else []
        if len(given) != len(formats):
            raise errors.ProgrammingError(f"{len(formats)} values are needed, {len(given)} were given")
        self.values = transformer.dump_sequence(given, formats)
        self.types: tuple[int, ...] = transformer.types or ()
        self.formats: list[Format] | None = transformer.formats


@cache
def _read(statement: str) -> tuple[bytes, list[str] | None, list[PyFormat]]:
    """With numbers for its marks; their names, None where they have none; how each is to be written."""
    places: dict[str, int] = {}
    formats: list[PyFormat] = []
    named = False

    def number(mark: re.Match[str]) -> str:
        nonlocal named
        if mark["kind"] == "%":
            return "%"
        named = named or mark["name"] is not None
        name = mark["name"] or str(len(places))
        if name not in places:
            places[name] = len(places) + 1
            formats.append(PyFormat.BINARY if mark["kind"] == "b" else PyFormat.AUTO)
        return f"${places[name]}"

    return _MARK.sub(number, statement).encode(), list(places) if named else None, formats
