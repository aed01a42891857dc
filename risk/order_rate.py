"""Calls leave at the pace the regulator and the broker allow: one budget for all processes of an account. It delays,
never bursts.

Generic cell rate algorithm in one statement: a row holds the instant at which the next call may leave. A call takes
two places: one among those of its class, that no second has too many, and one in a pool, that no minute has.
"""

import json
import time
from typing import Any

from django.db import connection

from trading.statements import FORGETTABLE, run, run_forgettable

RATES = {
    # Calls a second, and how many may leave at once. A broker counts all of them: in any one second there are at most
    # 4 + 2 + 3 of ten. A share is kept for exits and cancels, so that entries and reads can never starve them.
    "order": (2.5, 2),
    "exit": (2.0, 1),
    "read": (3.0, 1),
    # A backfill takes this turn before each of its reads, and leaves the rest of the minute to whoever trades.
    "history": (0.4, 1),
}
POOLS = {
    # The same for a minute of 120 calls, six tenths of the 200 of a broker that counts every call: 24 + 60 for all,
    # and 12 + 24 that only exits and cancels may take, where the others have left them nothing.
    "shared": (1.0, 24),
    "kept": (0.4, 12),
}
ONE_POOL_CLASSES = frozenset({"history"})  # what is read after it counts itself
_MINUTES = json.dumps({"ZERODHA": 2.0})
"""Brokers that allow so many times as much in a minute: four hundred orders."""
SANDBOX_MINUTES = 10.0
"""The desk's own exchange does too: a minute at it may be an hour of its market, and it blocks nobody for a day."""

# Rows are locked in one order. An exit takes what is free at once in the shared pool, and else where its turn comes
# sooner.
_PLACES = """held AS MATERIALIZED (
    SELECT r.call_class AS kind, greatest(r.next_free_at, clock_timestamp()) AS free
    FROM risk_orderrate r{quick}
    WHERE r.account_id = %(account)s AND r.call_class = ANY(%(kinds)s) ORDER BY r.call_class FOR UPDATE OF r{others}
), pace AS MATERIALIZED (
    SELECT CASE b.environment WHEN 'SANDBOX' THEN %(sandbox)s
           ELSE coalesce((%(minutes)s::jsonb ->> b.broker)::float8, 1) END AS times
    FROM (SELECT 1) one LEFT JOIN accounts_brokeraccount b ON b.id = %(account)s
), paced AS (
    SELECT held.kind, CASE held.kind WHEN %(class)s THEN %(step)s WHEN 'kept' THEN %(kept)s / pace.times
                      ELSE %(shared)s / pace.times END AS step
    FROM held, pace
), chosen AS (
    SELECT CASE WHEN k.free - %(kept_grace)s * interval '1s' <
                     s.free - %(grace)s * interval '1s'
                     AND s.free > clock_timestamp() + %(grace)s * interval '1s' THEN 'kept' ELSE 'shared'
           END AS pool
    FROM held s LEFT JOIN held k ON k.kind = 'kept' WHERE s.kind = 'shared'
), place AS (
    SELECT held.kind, paced.step, held.free + interval '1s' * %(places)s * paced.step AS until
    FROM held JOIN paced ON paced.kind = held.kind LEFT JOIN chosen ON true
    WHERE held.kind IN (%(class)s, coalesce(chosen.pool, %(class)s))
)"""
_TAKE = """UPDATE risk_orderrate r SET next_free_at = place.until FROM place
WHERE r.account_id = %(account)s AND r.call_class = place.kind"""
# A place that a crash forgets was not used either.
TAKE = f"""{FORGETTABLE}, {_PLACES.format(quick=", quick", others="")}
{_TAKE}
RETURNING place.kind, extract(epoch FROM r.next_free_at - clock_timestamp())::float8, place.step::float8
"""
_IN_TURN = f"""{_PLACES.format(quick="", others=" SKIP LOCKED")}, turn AS (
    {_TAKE}
      AND {{also}}
      AND (SELECT count(*) = %(rows)s AND bool_and(
               p.until <= clock_timestamp() + interval '1s' * CASE p.kind WHEN %(class)s THEN %(reach)s
                          WHEN 'kept' THEN %(kept_reach)s ELSE %(shared_reach)s END) FROM place p)
    RETURNING 1
)"""  # noqa: S608 - made of constants
TAKE_NOW = f"WITH {_IN_TURN.format(also='true')} SELECT 1 FROM turn LIMIT 1"  # noqa: S608 - our own names
BEGIN = """
INSERT INTO risk_orderrate (account_id, call_class, next_free_at)
SELECT %(account)s, kind, clock_timestamp() FROM unnest(%(kinds)s::text[]) AS kind ORDER BY kind
ON CONFLICT (account_id, call_class) DO NOTHING
"""


def wait_for_turn(account_id: int, call_class: str) -> float:
    """Take the next free place of an account and sleep until it comes. Returns the seconds slept."""
    delay = take_turn(account_id, call_class)
    if delay:
        time.sleep(delay)
    return delay


def take_turn(account_id: int, call_class: str) -> float:
    """Take the next free place of an account, with the caller's transaction; the seconds until it comes."""
    return take_turns(account_id, call_class, 1)[0]


def take_turns(account_id: int, call_class: str, places: int) -> list[float]:
    """The same for several calls, whose places follow one another: the seconds until each comes, rising."""
    asked = _asked(account_id, call_class, places)
    taken = run_forgettable(TAKE, asked)
    if len(taken) < _pools_and_class(asked):  # the account's first call of this class
        with connection.cursor() as cursor:
            cursor.execute(BEGIN, asked)
        taken = run_forgettable(TAKE, asked)
    return _waits(call_class, places, taken)


def taking_turns(*, also: str) -> str:
    """The beginning of a statement, after WITH, that takes places with whatever else it does (`in_turn`): `turn` has
    rows where none of them has to be waited for, `also` is true, and the account has made a call of this class before.
    Else none was taken; nor where somebody else is taking one just now, who is not waited for."""
    return _IN_TURN.format(also=also)


def take_turn_now(account_id: int, call_class: str) -> bool:
    """Take the next place where it need not be waited for. Else, and where there was no call before, none is taken."""
    return bool(run(TAKE_NOW, in_turn(account_id, call_class, 1)))


def in_turn(account_id: int, call_class: str, places: int) -> dict[str, Any]:
    """What that is given."""
    asked = _asked(account_id, call_class, places)
    reach = {kind: at_once / pace for kind, (pace, at_once) in {**POOLS, "class": RATES[call_class]}.items()}
    return asked | {
        "rows": _pools_and_class(asked), "reach": reach["class"], "kept_reach": reach["kept"],
        "shared_reach": reach["shared"],
    }  # fmt: skip


def _asked(account_id: int, call_class: str, places: int) -> dict[str, Any]:
    pools = [] if call_class in ONE_POOL_CLASSES else ["kept", "shared"] if call_class == "exit" else ["shared"]
    kinds = sorted([str(call_class), *pools])
    (shared, at_once), (kept, kept_at_once) = POOLS["shared"], POOLS["kept"]
    return {
        "account": account_id, "class": str(call_class), "kinds": kinds, "step": 1.0 / RATES[call_class][0],
        "shared": 1.0 / shared, "grace": (at_once - 1) / shared, "kept": 1.0 / kept,
        "kept_grace": (kept_at_once - 1) / kept, "minutes": _MINUTES,
        "sandbox": SANDBOX_MINUTES, "places": places,
    }  # fmt: skip


def _pools_and_class(asked: dict[str, Any]) -> int:
    """Rows in which a call takes a place: its class, and one pool where it has any."""
    return min(2, len(asked["kinds"]))


def _waits(call_class: str, places: int, taken: list[tuple[Any, ...]]) -> list[float]:
    paces = {str(call_class): RATES[call_class], **POOLS}
    # What the statement tells is how far the last place's step reaches; those before it end a step earlier each.
    return [
        max(0.0, *(ahead - after * step - paces[kind][1] / paces[kind][0] for kind, ahead, step in taken))
        for after in range(places - 1, -1, -1)
    ]
