"""The clocks of a life that is compared with another: they go on with the script, and not with the machine.

Much of what an engine does hangs on how old something is: an exit that rests for six seconds is priced anew, a doubt is
looked up after two. On a busy machine more of that falls between two steps of the script than on an idle one, and each
further question to the broker finds its books and its news later: the same fill is then told by the socket here and by
the book there. Where two processes are to do the same, time must be part of what is given. Nothing else is: both read
their own rows, hash in their own order and speak to a broker of their own, and what they say is compared to the letter.

A desk has two clocks, its process's and its database's, and compares what one has stamped with what the other says now.
Both are the script's here. Unqualified names are looked for in the schemas of the search path, in its order: one before
PostgreSQL's own has functions of the same names that read the script's instant from a row. Only connections of this
process, and only while its trial lasts, look there.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo

from django.db import connection, connections
from django.utils import timezone

STEP_S = 0.7
"""Wall seconds between two steps. No patience of the engine is a multiple of it: nothing falls on an edge."""
READING_S = 1e-6
"""It stands still for nobody: whoever waits for an instant gets there."""

# With the volatility of those whose place they take: it decides what the planner may do with them.
SCHEMA = """
DROP SCHEMA IF EXISTS {schema} CASCADE;
CREATE SCHEMA {schema};
CREATE TABLE {schema}.instant (at timestamptz NOT NULL);
INSERT INTO {schema}.instant SELECT to_timestamp(%s);
CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT at FROM {schema}.instant';
CREATE FUNCTION {schema}.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM {schema}.instant';
CREATE FUNCTION {schema}.transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM {schema}.instant';
CREATE FUNCTION {schema}.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM {schema}.instant';
"""


class ScriptClock:
    """What the clocks of a process and of its database say while a script is walked."""

    def __init__(self, schema: str, begins_at: datetime) -> None:
        self.schema = schema
        self._at = begins_at.timestamp()
        # One that never jumps has an origin of its own: what the process remembers by it is as old as it was.
        self._steady_from = time.monotonic() - self._at

    def read(self) -> float:
        self._at += READING_S
        return self._at

    def read_steady(self, _which: int = 0) -> float:
        return self.read() + self._steady_from

    def sleep(self, seconds: float) -> None:
        """Whoever walks the script is waited for by nobody. Another thread has no part in it, and sleeps."""
        if threading.current_thread() is threading.main_thread():
            self._at += seconds
        else:
            _sleep(seconds)

    def step(self) -> None:
        """The next step of the script begins. Not within a transaction: that would still have the instant before."""
        self._at += STEP_S
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {self.schema}.instant SET at = to_timestamp(%s)", [self._at])

    def datetime_type(self) -> type[datetime]:
        """What `django.utils.timezone.now` asks, also where a model has kept that function as a default."""
        read = self.read

        class ScriptDatetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.fromtimestamp(read(), tz)

        return ScriptDatetime


_sleep = time.sleep


@contextmanager
def script_time(name: str, begins_at: datetime) -> Iterator[ScriptClock]:
    """From here on this process, those that it forks, and their connections to the database live by the script. `name`
    tells apart who shares a database."""
    schema = f"script_{name}"
    clock = ScriptClock(schema, begins_at)
    connections.close_all()  # whoever connects from here on looks for the time there
    with connection.cursor() as cursor:
        cursor.execute(SCHEMA.format(schema=schema), [begins_at.timestamp()])
    connections.close_all()
    options = connection.settings_dict["OPTIONS"]
    real = options["options"], time.time, time.monotonic, time.clock_gettime, time.sleep, timezone.datetime
    options["options"] += f" -c search_path={schema},pg_catalog,public"
    time.time, time.monotonic, time.clock_gettime = clock.read, clock.read_steady, clock.read_steady
    time.sleep, timezone.datetime = clock.sleep, clock.datetime_type()
    try:
        yield clock
    finally:
        (
            options["options"], time.time, time.monotonic, time.clock_gettime, time.sleep, timezone.datetime
        ) = real  # fmt: skip
        connections.close_all()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
