"""A periodic job runs once a period, whoever rings for it and however often; and somebody sees when it does not."""

from trading.statements import run

# Periods are counted by the database's clock: callers are many, and their own may be stepped. One that is ahead of the
# present by more than a period was counted by a clock that was wrong, and holds nothing up.
TAKE = """
INSERT INTO monitoring_jobslot AS s (name, last_slot, taken_at)
VALUES (%(name)s, floor(extract(epoch FROM clock_timestamp()) / %(every)s::float8), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET last_slot = excluded.last_slot, taken_at = excluded.taken_at
WHERE s.last_slot < excluded.last_slot OR s.last_slot > excluded.last_slot + 1
RETURNING 1
"""
AGES = """
SELECT name, extract(epoch FROM clock_timestamp() - taken_at)::float8 FROM monitoring_jobslot
WHERE name = ANY(%s::varchar[]) AND taken_at IS NOT NULL
"""
SAFETY_JOBS = {"watch_heartbeats": 5.0, "keep_risk": 5.0, "watch_strategies": 15.0, "recount_room": 60.0}
"""Seconds of the periods of jobs that look after safety."""
MISSED = 3
LEAST_S = 30.0


def take_slot(name: str, *, every_s: float) -> bool:
    """True for the first caller in a period of wall time; False for all others."""
    return bool(run(TAKE, {"name": name, "every": every_s}))


def missed_jobs(*, up_s: float) -> list[str]:
    """Safety jobs that missed three periods, and half a minute. One that never ran is missed by whoever has looked for
    so long himself: `up_s`."""
    ages = {str(name): float(age) for name, age in run(AGES, [list(SAFETY_JOBS)])}
    patience = {name: max(LEAST_S, MISSED * every_s) for name, every_s in SAFETY_JOBS.items()}
    return [name for name, most_s in patience.items() if min(ages.get(name, up_s), up_s) > most_s]
