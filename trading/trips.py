"""Statements on their way together: what psycopg's pipeline carries, without a cursor for each.

A cursor learns what it is asked anew for each statement, asks the socket after each, and waits for `BEGIN` alone. Here
a statement is read once a process, nothing leaves before it is asked to, and what begins or ends the transaction goes
with the rest. Prepared statements are those of the connection: a cursor of psycopg finds them, and the other way round.
"""

import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from psycopg import errors
from psycopg._preparing import Prepare
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format, TransactionStatus

_MARK = re.compile(r"%(?:\((?P<name>\w+)\))?(?P<kind>[sb%])")
_ANSWERED = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


class Trip:
    """What is out on one pipeline of a connection."""

    def __init__(self, connection: Any, pipeline: Any) -> None:
        self.connection, self.pipeline = connection, pipeline
        self._transformer = Transformer(connection)
        self._begun = False

    def send(self, statement: str, parameters: Any, many: bool, context: Any) -> "Answer":
        """Put a statement in its place (as Django's wrappers call what executes); it leaves with the others."""
        connection, pipeline = self.connection, self.pipeline
        if not (self._begun or connection.autocommit) and (
            connection.pgconn.transaction_status == TransactionStatus.IDLE
        ):
            self._command(b"BEGIN")
        self._begun = True
        answer = Answer(connection, pipeline)
        query = _Query(statement, parameters, self._transformer)
        plans = connection._prepared
        state, name = plans.get(query, True)
        if state is Prepare.SHOULD:
            pipeline.command_queue.append(
                partial(connection.pgconn.send_prepare, name, query.query, param_types=query.types)
            )
            pipeline.result_queue.append(None)
        pipeline.command_queue.append(
            partial(connection.pgconn.send_query_prepared, name, query.values, param_formats=query.formats)
        )
        key = plans.maybe_add_to_cache(query, state, name)
        pipeline.result_queue.append((answer, None if key is None else (key, state, name)))
        return answer

    def leave(self) -> None:
        """Send what is in its place: the database works at it while its caller does something else."""
        self.connection.wait(self.pipeline._communicate_gen())

    def commit(self) -> None:
        """End the transaction with this trip; where anything of it fails, nothing is kept. For whoever began it, as the
        last statement: the commit of Django's that follows finds nothing to do."""
        self._command(b"COMMIT")

    def _command(self, command: bytes) -> None:
        self.pipeline.command_queue.append(partial(self.connection.pgconn.send_query_params, command, None))
        self.pipeline.result_queue.append(None)


class Answer:
    """What the database says to one statement: as much of a cursor as a pipeline needs."""

    __slots__ = ("_conn", "_pipeline", "_result")

    def __init__(self, connection: Any, pipeline: Any) -> None:
        self._conn, self._pipeline = connection, pipeline
        self._result: Any = None

    def rows(self) -> list[tuple[Any, ...]]:
        """Waits for them, where they have not come."""
        if self._result is None:
            self._conn.wait(self._pipeline._communicate_gen())
            self._conn.wait(self._pipeline._fetch_gen(flush=True))
        if self._result is None:
            raise errors.OperationalError("the trip ended before its answer")
        reader = Transformer(self._conn)
        reader.set_pgresult(self._result)
        found: list[tuple[Any, ...]] = reader.load_rows(0, self._result.ntuples, tuple)
        return found

    def _check_results(self, results: list[Any]) -> None:
        for result in results:
            if result.status in _ANSWERED:
                continue
            if result.status == ExecStatus.PIPELINE_ABORTED:
                raise errors.PipelineAborted("pipeline aborted")
            raise errors.error_from_result(result, encoding=self._conn.pgconn._encoding)

    def _set_results(self, results: list[Any]) -> None:
        (self._result,) = results


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
