"""Room under a limit is taken in the statement that checks it, so that two workers cannot both have the last of it.

Buckets are always touched in sorted key order: workers wait for each other and never in a circle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from risk.models import Reservation, RiskBucket
from trading.domain.errors import NotAllowed

Kind = RiskBucket.Kind

REFUSALS = {
    Kind.SLOTS: ("OPEN_POSITIONS", "All positions are taken."),
    Kind.EXPOSURE: ("TOTAL_EXPOSURE", "The exposure limit is reached."),
    Kind.SYMBOL: ("ALREADY_POSITIONED", "Another order for this instrument was faster."),
    Kind.TRADES: ("TRADES_PER_DAY", "The day's entries are used up."),
}


# Rows are taken one after the other in the order of their keys; each is checked against its cap as it is taken.
TAKE = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(keys)s::text[], %(kinds)s::text[], %(amounts)s::bigint[], %(caps)s::bigint[])
        AS w (key, kind, amount, cap)
), taken AS (
    INSERT INTO risk_riskbucket AS b (key, portfolio_id, kind, reserved, version)
    SELECT key, %(portfolio)s, kind, amount, 1 FROM wanted WHERE amount <= cap ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET reserved = b.reserved + EXCLUDED.reserved, version = b.version + 1
    WHERE b.reserved + EXCLUDED.reserved <= (SELECT cap FROM wanted WHERE wanted.key = b.key)
    RETURNING id, key
)
INSERT INTO risk_reservation (bucket_id, intent_id, amount)
SELECT taken.id, %(intent)s, wanted.amount FROM taken JOIN wanted USING (key)
RETURNING (SELECT key FROM taken WHERE taken.id = bucket_id)
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """`amount` of a bucket, whose total may not pass `cap`."""

    kind: str
    key: str
    amount: int
    cap: int


def bucket_keys(portfolio_id: int, instrument_id: int, session_date: date) -> Mapping[str, str]:
    """The buckets that an entry draws on, by kind."""
    return {
        Kind.EXPOSURE: f"EXPOSURE:{portfolio_id}",
        Kind.SLOTS: f"SLOTS:{portfolio_id}",
        Kind.SYMBOL: f"SYMBOL:{portfolio_id}:{instrument_id}",
        Kind.TRADES: f"TRADES:{portfolio_id}:{session_date}",
    }


@transaction.atomic
def reserve(*, portfolio_id: int, intent_id: UUID, claims: list[Claim]) -> None:
    """Take all of the claims or none of them: NotAllowed with the code of the first bucket that is full."""
    wanted = sorted(claims, key=lambda claim: claim.key)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE, {
            "portfolio": portfolio_id, "intent": intent_id, "keys": [claim.key for claim in wanted],
            "kinds": [str(claim.kind) for claim in wanted], "amounts": [claim.amount for claim in wanted],
            "caps": [claim.cap for claim in wanted],
        })  # fmt: skip
        taken = {key for (key,) in cursor.fetchall()}
        for claim in wanted:
            if claim.key not in taken:
                code, message = REFUSALS[Kind(claim.kind)]
                raise NotAllowed(code, message, bucket=claim.key, wanted=claim.amount, cap=claim.cap)


@transaction.atomic
def release(*, intent_id: UUID, keep_trades: bool) -> int:
    """Give back what an intent holds; an entry that traded stays counted for its day. Returns how many were freed."""
    held = Reservation.objects.select_related("bucket").filter(intent_id=intent_id, released_at=None)
    freed = 0
    for reservation in held.order_by("bucket__key"):
        if keep_trades and reservation.bucket.kind == Kind.TRADES:
            continue
        if Reservation.objects.filter(pk=reservation.pk, released_at=None).update(released_at=timezone.now()):
            _give_back(reservation.bucket_id, reservation.amount)
            freed += 1
    return freed


@transaction.atomic
def retake(*, intent_id: UUID) -> None:
    """Hold again what was given back: the entry lives after all. No cap can refuse what has happened."""
    freed = Reservation.objects.select_related("bucket").filter(intent_id=intent_id, released_at__isnull=False)
    for reservation in freed.order_by("bucket__key"):
        if Reservation.objects.filter(pk=reservation.pk, released_at__isnull=False).update(released_at=None):
            _give_back(reservation.bucket_id, -reservation.amount)


@transaction.atomic
def settle(*, intent_id: UUID, value_paise: int) -> None:
    """Once an entry has ended, its exposure is what was filled, no longer what was asked for."""
    held = Reservation.objects.select_related("bucket").filter(
        intent_id=intent_id, released_at=None, bucket__kind__in=[Kind.EXPOSURE, Kind.SYMBOL]
    )
    for reservation in held.order_by("bucket__key").select_for_update(of=("self",)):
        if 0 < value_paise != reservation.amount:
            _give_back(reservation.bucket_id, reservation.amount - value_paise)
            Reservation.objects.filter(pk=reservation.pk).update(amount=value_paise)


def _give_back(bucket_id: int, amount: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE risk_riskbucket SET reserved = reserved - %s, version = version + 1 WHERE id = %s",
            [amount, bucket_id],
        )
