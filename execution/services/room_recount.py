"""Once a minute all that is reserved and used is counted again from orders and trades. A difference is an incident: it
is told, written down, and set right. One statement reads everything, so that nothing can move between two looks."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from django.db import connection, transaction
from django.utils import timezone

from execution.states import LIVE_STATES
from risk.models import Reservation, RiskBucket
from risk.reserve import COUNTS, OF_THE_DAY
from trading.audit.record import record
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import Heartbeat

SECOND_LOOK_S = 2.0
HEARTBEAT = "recount"

# What each reservation should hold: of an entry that may still fill its rest at the price asked for, of one that
# filled the value of its fills. One that is over and flat should hold nothing, but for what counts in its day.
SHOULD_BE = """
WITH held AS (
    SELECT r.id, b.id AS bucket, b.kind = ANY(%(counts)s) AS counts, r.amount, r.used,
           coalesce(o.filled, 0) AS filled, coalesce(o.value, 0) AS value,
           coalesce(o.live, i.state IN ('WAITING', 'APPROVED')) AS may_fill,
           coalesce(o.rest, i.allowed_quantity) AS rest,
           CASE WHEN r.amount > 0 AND coalesce(o.rest, i.allowed_quantity) > 0
                THEN r.amount / coalesce(o.rest, i.allowed_quantity) ELSE 0 END AS unit,
           coalesce(o.asked, round(100 * coalesce(i.limit_price, i.trigger_price, 0))::bigint * i.allowed_quantity)
               AS asked,
           coalesce(g.state, 'CLOSED') = 'CLOSED' AS over
    FROM risk_reservation r
    JOIN risk_riskbucket b ON b.id = r.bucket_id
    JOIN execution_intent i ON i.id = r.intent_id
    LEFT JOIN LATERAL (
        SELECT sum(c.filled_quantity)::bigint AS filled, sum(c.fill_value_paise)::bigint AS value,
               bool_or(c.live) AS live, sum(c.rest) FILTER (WHERE c.live)::bigint AS rest,
               sum(c.rest * c.price) FILTER (WHERE c.live)::bigint AS asked
        FROM (
            SELECT *, state = ANY(%(live)s) AS live, greatest(quantity - filled_quantity, 0) AS rest,
                   round(100 * coalesce(greatest(i.limit_price, limit_price, pending_limit_price), i.trigger_price,
                                        decision_price, 0))::bigint AS price
            FROM execution_order WHERE intent_id = i.id
        ) c
    ) o ON true
    LEFT JOIN execution_group g ON g.id = i.group_id
    WHERE r.released_at IS NULL AND NOT b.kind = ANY(%(of_day)s)
), right_now AS (
    SELECT id, bucket, amount, used,
           CASE WHEN over OR NOT may_fill OR rest <= 0 THEN 0 WHEN counts THEN CASE WHEN filled > 0 THEN 0 ELSE 1 END
                WHEN asked > 0 THEN asked ELSE rest * unit END AS should_amount,
           CASE WHEN over THEN 0 WHEN counts THEN CASE WHEN filled > 0 THEN 1 ELSE 0 END ELSE value END AS should_use
    FROM held
)
SELECT 'reservation', id, amount, used, should_amount, should_use FROM right_now
WHERE (amount, used) <> (should_amount, should_use)
UNION ALL
SELECT 'bucket', b.id, b.reserved, b.used, coalesce(sum(r.amount), 0), coalesce(sum(r.used), 0)
FROM risk_riskbucket b LEFT JOIN risk_reservation r ON r.bucket_id = b.id AND r.released_at IS NULL
WHERE NOT b.kind = ANY(%(of_day)s) OR b.key LIKE ANY(%(days)s)
GROUP BY b.id HAVING (b.reserved, b.used) <> (coalesce(sum(r.amount), 0), coalesce(sum(r.used), 0))
"""


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that says something else than the orders do: (reserved, used) as found and as they should be."""

    table: str
    pk: int
    found: tuple[int, int]
    right: tuple[int, int]


def find_drift(*, days: Collection[date]) -> set[Drift]:
    with connection.cursor() as cursor:
        cursor.execute(SHOULD_BE, {
            "counts": COUNTS, "of_day": OF_THE_DAY, "live": [str(one) for one in LIVE_STATES],
            "days": [f"%:{day}" for day in days],
        })  # fmt: skip
        return {Drift(table, pk, (int(a), int(u)), (int(ra), int(ru))) for table, pk, a, u, ra, ru in cursor.fetchall()}


def room_recount(*, days: Collection[date], second_look_s: float = SECOND_LOOK_S) -> list[Drift]:
    """Count, tell and set right; returns what was wrong. Only what is wrong twice is: an entry that has just ended is
    settled by the next step of its trade. `days`: today, by each feed's calendar."""
    drift = find_drift(days=days)
    if drift:
        time.sleep(second_look_s)
        drift &= find_drift(days=days)
    wrong = sorted(drift, key=lambda one: (one.table != "reservation", one.pk))
    for one in wrong:
        _set_right(one)
    if not wrong:
        clear_alerts("ROOM_DRIFT")
    Heartbeat.objects.update_or_create(
        name=HEARTBEAT, defaults={"at": timezone.now(), "detail": {"drift": len(wrong), "buckets": _buckets()}}
    )
    return wrong


def _buckets() -> int:
    return RiskBucket.objects.exclude(reserved=0, used=0).count()


@transaction.atomic
def _set_right(one: Drift) -> None:
    """Where the row still says what it was found to say."""
    reserved, used = one.right
    if one.table == "reservation":
        row = Reservation.objects.select_related("bucket__portfolio").get(pk=one.pk)
        bucket = RiskBucket.objects.select_for_update().get(pk=row.bucket_id)
        changed = Reservation.objects.filter(pk=one.pk, amount=one.found[0], used=one.found[1]).update(
            amount=reserved, used=used, released_at=None if (reserved or used) else timezone.now()
        )
        if changed:  # what the bucket holds beside it is judged by itself
            bucket.reserved = max(0, bucket.reserved + reserved - one.found[0])
            bucket.used = max(0, bucket.used + used - one.found[1])
            bucket.save(update_fields=["reserved", "used"])
    else:
        bucket = RiskBucket.objects.select_for_update().select_related("portfolio").get(pk=one.pk)
        changed = RiskBucket.objects.filter(pk=one.pk, reserved=one.found[0], used=one.found[1]).update(
            reserved=reserved, used=used
        )
    if not changed:
        return
    owner_id = bucket.portfolio.owner_id
    record(
        "room.drift", actor="recount", owner_id=owner_id, subject=f"{one.table} {one.pk} of {bucket.key}",
        found=list(one.found), right=list(one.right),
    )  # fmt: skip
    raise_alert(
        "ROOM_DRIFT", f"{bucket.key}: {sum(one.found)} was taken by the books of risk, {sum(one.right)} by the orders.",
        level=Level.SEVERE, next_step="It was set right. Find out why: the audit trail has the rows.",
    )  # fmt: skip
