"""Room under a limit is taken in the statement that checks it, so that two workers cannot both have the last of it.

What an entry asks for is `reserved`; what of it fills moves to `used`; what ends is given back. Buckets are always
taken in sorted key order: workers wait for each other and never in a circle.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from risk.gates.finding import Limits, Snapshot
from risk.models import RiskBucket
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotAllowed
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent
from trading.statements import Rows, ask, run, tell

Kind = RiskBucket.Kind

REFUSALS = {
    Kind.SLOTS: ("OPEN_POSITIONS", "All positions are taken."),
    Kind.EXPOSURE: ("TOTAL_EXPOSURE", "The exposure limit is reached."),
    Kind.SYMBOL: ("ALREADY_POSITIONED", "Another order for this instrument was faster."),
    Kind.TRADES: ("TRADES_PER_DAY", "The day's entries are used up."),
    Kind.ACCOUNT: ("ACCOUNT_EXPOSURE", "The exposure limit of the broker account is reached."),
    Kind.DAY: ("DAY_VALUE", "As much as may be opened in a day was opened."),
    Kind.SEGMENT: ("SEGMENT_EXPOSURE", "The exposure limit of the segment is reached."),
    Kind.SECTOR: ("SECTOR_EXPOSURE", "The exposure limit of the sector is reached."),
    Kind.STRATEGY: ("STRATEGY_POSITIONS", "All positions of the strategy are taken."),
}
OF_THE_DAY = [str(Kind.TRADES), str(Kind.DAY)]
"""Kinds that count what happened in a day: what traded stays counted."""
COUNTS = [str(kind) for kind in RiskBucket.COUNTS]
OPTIONS = "OPT"


HOLDS = "SELECT 1 FROM risk_reservation WHERE intent_id = %s AND released_at IS NULL LIMIT 1"
UNSETTLED = "SELECT 1 FROM risk_reservation WHERE intent_id = %s AND released_at IS NULL AND amount > 0 LIMIT 1"
# Rows are taken one after the other in the order of their keys; each is checked as it is taken: `most` is what may be
# in the bucket before.
_TAKEN = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(wanted)s::jsonb)
        AS w (key text, portfolio bigint, kind text, amount bigint, most bigint)
), taken AS (
    INSERT INTO risk_riskbucket AS b (key, portfolio_id, kind, reserved, used, version)
    SELECT key, portfolio, kind, amount, 0, 1 FROM wanted WHERE most >= 0 ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET reserved = b.reserved + EXCLUDED.reserved, version = b.version + 1
    WHERE b.reserved + b.used <= (%(most)s::jsonb ->> b.key)::bigint
    RETURNING id, key
)
"""
_KEPT = """
INSERT INTO risk_reservation (bucket_id, intent_id, amount, used)
SELECT taken.id, part.intent, part.amount, 0
FROM jsonb_to_recordset(%(parts)s::jsonb) AS part (intent uuid, key text, amount bigint)
"""
# What fits is taken, and told.
TAKE = f"{_TAKEN}, kept AS ({_KEPT} JOIN taken USING (key)) SELECT key FROM taken"  # noqa: S608 - our own names
# All of it or an error: what found no room is in no bucket, and cannot be written.
TAKE_ALL = f"{_TAKEN} {_KEPT} LEFT JOIN taken USING (key)"

# Of what was just taken, nothing is kept: a refused intent has no reservation.
UNDO = """
WITH gone AS (
    DELETE FROM risk_reservation WHERE intent_id = ANY(%(intents)s::uuid[]) RETURNING bucket_id, amount
), given AS (SELECT bucket_id, sum(amount) AS amount FROM gone GROUP BY bucket_id)
UPDATE risk_riskbucket b SET reserved = b.reserved - given.amount FROM given WHERE b.id = given.bucket_id
"""

# The buckets are locked in sorted order before any of them changes.
MOVE = """
WITH held AS MATERIALIZED (
    SELECT r.id, r.bucket_id, r.amount, r.used, b.kind
    FROM risk_reservation r JOIN risk_riskbucket b ON b.id = r.bucket_id
    WHERE r.intent_id = %(intent)s AND r.released_at IS NULL
    ORDER BY b.key COLLATE "C" FOR UPDATE OF b
), plan AS MATERIALIZED (
    SELECT id, bucket_id, amount, used,
           CASE WHEN kind = ANY(%(counts)s) THEN 0 ELSE amount * %(left)s / greatest(%(before)s, 1) END AS amount_after,
           CASE WHEN kind = ANY(%(counts)s) THEN used + amount ELSE %(value)s END AS used_after
    FROM held
), moved AS (
    UPDATE risk_riskbucket b SET version = b.version + 1, reserved = b.reserved + plan.amount_after - plan.amount,
        used = b.used + plan.used_after - plan.used
    FROM plan WHERE b.id = plan.bucket_id
)
UPDATE risk_reservation r SET amount = plan.amount_after, used = plan.used_after FROM plan WHERE r.id = plan.id
"""
GIVE = """
WITH held AS MATERIALIZED (
    SELECT r.id, r.bucket_id, r.amount, r.used
    FROM risk_reservation r JOIN risk_riskbucket b ON b.id = r.bucket_id
    WHERE r.intent_id = %(intent)s AND (r.released_at IS NULL) = %(live)s AND NOT b.kind = ANY(%(leave)s)
    ORDER BY b.key COLLATE "C" FOR UPDATE OF b
), given AS (
    UPDATE risk_riskbucket b SET version = b.version + 1, reserved = b.reserved - %(sign)s * held.amount,
        used = b.used - %(sign)s * held.used
    FROM held WHERE b.id = held.bucket_id
)
UPDATE risk_reservation r SET released_at = %(at)s FROM held WHERE r.id = held.id
"""


ANEW = """
WITH held AS MATERIALIZED (
    SELECT r.id, r.bucket_id, r.amount, b.key
    FROM risk_reservation r JOIN risk_riskbucket b ON b.id = r.bucket_id
    WHERE r.intent_id = %(intent)s AND r.released_at IS NULL AND NOT b.kind = ANY(%(counts)s)
    ORDER BY b.key COLLATE "C" FOR UPDATE OF b
), caps AS (
    SELECT * FROM unnest(%(keys)s::text[], %(caps)s::bigint[]) AS c (key, cap)
), moved AS (
    UPDATE risk_riskbucket b SET version = b.version + 1, reserved = b.reserved + %(value)s - held.amount
    FROM held LEFT JOIN caps ON caps.key = held.key
    WHERE b.id = held.bucket_id
      AND (%(value)s <= held.amount OR cap IS NULL OR b.reserved + b.used + %(value)s - held.amount <= cap)
    RETURNING b.id
), kept AS (
    UPDATE risk_reservation r SET amount = %(value)s FROM held JOIN moved ON moved.id = held.bucket_id
    WHERE r.id = held.id
)
SELECT held.key FROM held LEFT JOIN moved ON moved.id = held.bucket_id WHERE moved.id IS NULL
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """`amount` of a bucket, whose total may not pass `cap`."""

    kind: str
    key: str
    amount: int
    cap: int


def segment_of(intent_segment: str, is_option: bool) -> str:
    return OPTIONS if is_option else intent_segment


def bucket_keys(
    *, portfolio_id: int, account_id: int, instrument_id: int, session_date: date, segment: str = "CM",
    sector: str = "", strategy: str = "",
) -> Mapping[Kind, str]:  # fmt: skip
    """The buckets that an entry draws on, by kind. An instrument without a sector, and a hand, have fewer."""
    keys = {
        Kind.ACCOUNT: f"ACCOUNT:{account_id}",
        Kind.DAY: f"DAY:{portfolio_id}:{session_date}",
        Kind.EXPOSURE: f"EXPOSURE:{portfolio_id}",
        Kind.SEGMENT: f"SEGMENT:{portfolio_id}:{segment}",
        Kind.SLOTS: f"SLOTS:{portfolio_id}",
        Kind.SYMBOL: f"SYMBOL:{portfolio_id}:{instrument_id}",
        Kind.TRADES: f"TRADES:{portfolio_id}:{session_date}",
    }
    if sector:
        keys[Kind.SECTOR] = f"SECTOR:{portfolio_id}:{sector}"
    if strategy:
        keys[Kind.STRATEGY] = f"STRATEGY:{portfolio_id}:{strategy}"
    return keys


def claims_of(
    intent: OrderIntent, snapshot: Snapshot, limits: Limits, keys: Mapping[Kind, str], *, account_equity_paise: int
) -> list[Claim]:
    """What an approved entry takes of each bucket, and the caps that the gates read. Pure.

    `account_equity_paise` is the equity of all portfolios of the broker account together.
    """
    value = to_paise(intent.price) * intent.quantity
    equity = snapshot.equity_paise

    def part(percent) -> int:
        return int(equity * percent / 100)

    total = min(part(limits.total_exposure_pct), part(limits.hard_exposure_pct))
    amounts = {
        Kind.ACCOUNT: (value, int(max(equity, account_equity_paise) * limits.hard_exposure_pct / 100)),
        Kind.DAY: (value, part(limits.day_value_pct)),
        Kind.EXPOSURE: (value, total),
        Kind.SEGMENT: (value, part(limits.options_exposure_pct) if intent.is_option else total),
        Kind.SLOTS: (1, limits.max_open_positions),
        # One trade at a time in one instrument: there is room only where nothing is held, or for more of the same.
        Kind.SYMBOL: (value, max(value, _most_of_one(intent, limits, equity)) if intent.adds else value),
        Kind.TRADES: (1, limits.max_trades_per_day),
        Kind.SECTOR: (value, part(limits.sector_exposure_pct)),
        Kind.STRATEGY: (1, limits.max_strategy_positions),
    }
    counted = RiskBucket.COUNTS if intent.adds else frozenset()  # its trade has these already
    return [Claim(kind, key, *amounts[kind]) for kind, key in keys.items() if kind not in counted]


def _most_of_one(intent: OrderIntent, limits: Limits, equity: int) -> int:
    share = limits.option_position_pct if intent.is_option else limits.position_size_pct
    return int(equity * share / 100)


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that one intent takes."""

    portfolio_id: int
    intent_id: UUID
    claims: Sequence[Claim]


def reserve(*, portfolio_id: int, intent_id: UUID, claims: list[Claim]) -> None:
    """Take all of the claims or none of them: NotAllowed with the code of the first bucket that is full."""
    reserve_all([Wanted(portfolio_id, intent_id, claims)])


def reserve_all(wanted: Sequence[Wanted]) -> None:
    """The same for several intents, one after the other: each claim must fit beside those before it."""
    with transaction.atomic(savepoint=False):
        full = taken(wanted)()
        if full is not None:
            tell(UNDO, {"intents": [one.intent_id for one in wanted]})  # nobody has seen it: the buckets are locked
    if full is not None:
        code, message = REFUSALS[Kind(full.kind)]
        raise NotAllowed(code, message, bucket=full.key, wanted=full.amount, cap=full.cap)


def taken(wanted: Sequence[Wanted]) -> Callable[[], Claim | None]:
    """Take the room of several intents, asked with the caller's other statements and read later: the first claim that
    did not fit, None where all did. Of those that fit the room is taken then: the caller's transaction must not commit.
    """
    asked = _Asked(wanted)
    rows = _sent(TAKE, asked)

    def first_that_is_full() -> Claim | None:
        fit = {key for (key,) in rows()}
        return next((claim for key, claim in asked.first.items() if key not in fit), None)

    return first_that_is_full


def take_all(wanted: Sequence[Wanted]) -> None:
    """Take the room of several intents inside `together`, waiting for no answer: where it is not there the statement
    fails with an IntegrityError, and with it the caller's transaction."""
    _sent(TAKE_ALL, _Asked(wanted))


def _sent(statement: str, asked: "_Asked") -> Rows:
    rows = ask(statement, asked.parameters)
    crashpoint("risk.reserved")
    return rows


class _Asked:
    """What several intents take, by bucket; `first`: in the order of keys, who asks first for each."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        amounts: dict[str, int] = {}
        most: dict[str, int] = {}
        first: dict[str, tuple[int, Claim]] = {}
        parts = []
        for one in wanted:
            intent = str(one.intent_id)
            for claim in one.claims:
                parts.append({"intent": intent, "key": claim.key, "amount": claim.amount})
                amounts[claim.key] = amounts.get(claim.key, 0) + claim.amount
                left = claim.cap - amounts[claim.key]
                most[claim.key] = min(left, most.get(claim.key, left))
                first.setdefault(claim.key, (one.portfolio_id, claim))
        keys = sorted(amounts)
        self.first = {key: first[key][1] for key in keys}
        asked = [
            {
                "key": key, "portfolio": first[key][0], "kind": str(first[key][1].kind), "amount": amounts[key],
                "most": most[key],
            }
            for key in keys
        ]  # fmt: skip
        self.parameters = {"wanted": json.dumps(asked), "parts": json.dumps(parts), "most": json.dumps(most)}


def use(*, intent_id: UUID, value_paise: int, remaining: int, remaining_before: int) -> None:
    """A fill moves its part from reserved to used: all fills of the entry are now worth `value_paise`.

    Quantities are what was left to fill after and before it. Called under the lock of the trade, once for each fill.
    """
    _run(MOVE, intent_id, left=max(0, remaining), before=remaining_before, value=value_paise)
    crashpoint("risk.used")


def hold_anew(*, intent_id: UUID, value_paise: int, caps: Mapping[str, int] | None = None) -> None:
    """What is still to fill of a live entry is worth something else now: hold as much of every bucket of money.

    All of it or nothing: NotAllowed (NO_ROOM) where a bucket of `caps` would pass its cap. Without caps nothing is
    refused. Called under the lock of the trade.
    """
    caps = caps or {}
    with transaction.atomic():
        full = run(ANEW, {
            "intent": intent_id, "counts": COUNTS, "value": value_paise, "keys": list(caps),
            "caps": list(caps.values()),
        })  # fmt: skip
        if full:
            raise NotAllowed("NO_ROOM", f"There is no room for it at that price: {full[0][0]}.", bucket=full[0][0])


def settle(*, intent_id: UUID, value_paise: int) -> None:
    """Once an entry that traded has ended, its exposure is what was filled, no longer what was asked for."""
    if value_paise > 0 and run(UNSETTLED, [intent_id]):  # asked at every step of a trade, true once
        _run(MOVE, intent_id, left=0, before=1, value=value_paise)


def holds_room(intent_id: UUID) -> bool:
    """Whether an intent still holds anything: asked by who looks at it again and again."""
    return bool(run(HOLDS, [intent_id]))


def release(*, intent_id: UUID, keep_trades: bool) -> int:
    """Give back what an intent holds; an entry that traded stays counted for its day. Returns how many were freed."""
    leave = OF_THE_DAY if keep_trades else []
    freed = _run(GIVE, intent_id, live=True, leave=leave, sign=1, at=timezone.now())
    crashpoint("risk.released")
    return freed


def retake(*, intent_id: UUID) -> None:
    """Hold again what was given back: the entry lives after all. No cap can refuse what has happened."""
    _run(GIVE, intent_id, live=False, leave=[], sign=-1, at=None)


def _run(statement: str, intent_id: UUID, **values: Any) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"intent": intent_id, "counts": COUNTS, **values})
        return cursor.rowcount
