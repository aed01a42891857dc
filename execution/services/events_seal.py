"""The memory of orders is a chain: what was said is sealed minutes later, aside, so that no order ever waits for it.

A stretch of events is digested in the database, together with the digest of the stretch before. Whoever alters, removes
or slips in a row afterwards, even past the triggers, is found by `events_verify`.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone

from execution.models import EventSeal
from trading.audit.record import record
from trading.monitoring.alerts import Level, clear_alerts, raise_alert

GENESIS = "0" * 64
LOCK = 0x7A12A3  # one chain has one writer
MOST = 20_000
"""Events of one seal."""
SETTLED_AFTER = timedelta(minutes=1)
"""An event is sealed when it is this much older than the oldest transaction: nobody can still add one before it."""

SETTLED = """
SELECT max(id) FROM (
    SELECT id, at FROM execution_orderevent WHERE id > %(after)s ORDER BY id LIMIT %(most)s
) AS next WHERE at < %(wall)s AND at < (
    SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()
) - make_interval(secs => %(settled_s)s)
"""
DIGEST = """
SELECT count(*), encode(sha256(convert_to(%(previous)s || coalesce(string_agg(jsonb_build_array(
    id, order_id, seq, kind, source, from_state, to_state, applied, detail, extract(epoch FROM at)
)::text, ',' ORDER BY id), ''), 'UTF8')), 'hex')
FROM execution_orderevent WHERE id > %(after)s AND id <= %(through)s
"""


@dataclass(frozen=True, slots=True)
class Broken:
    """The first stretch that is not what was sealed."""

    after_event: int
    through_event: int


def events_seal(*, settled_after: timedelta = SETTLED_AFTER) -> int:
    """Seal what is settled and not sealed yet; returns how many events."""
    sealed = 0
    while stretch := _seal_next(settled_after):
        sealed += stretch
    return sealed


@transaction.atomic
def _seal_next(settled_after: timedelta) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        last = EventSeal.objects.first()
        after, previous = (last.through_event, last.digest) if last is not None else (0, GENESIS)
        wall = timezone.now()
        cursor.execute(SETTLED, {
            "after": after, "most": MOST, "wall": wall - settled_after, "settled_s": settled_after.total_seconds(),
        })  # fmt: skip
        (through,) = cursor.fetchone()
        if through is None:
            return 0
    events, digest = _digest(previous, after, through)
    EventSeal.objects.create(
        after_event=after, through_event=through, events=events, previous_digest=previous, digest=digest,
        sealed_at=wall,
    )  # fmt: skip
    return events


def events_verify() -> Broken | None:
    """Walk the whole chain. The first stretch that does not fit, told in an alert; or None when all is well."""
    after, previous = 0, GENESIS
    for seal in EventSeal.objects.order_by("id").iterator():
        found = _digest(previous, after, seal.through_event)
        if (seal.after_event, seal.previous_digest, seal.events, seal.digest) != (after, previous, *found):
            raise_alert(
                "EVENTS_ALTERED", f"What was said of orders was altered: events {after + 1} to {seal.through_event}.",
                level=Level.SEVERE, about="events", next_step="Compare with a backup and the broker's books.",
            )  # fmt: skip
            return Broken(after, seal.through_event)
        after, previous = seal.through_event, seal.digest
    clear_alerts("EVENTS_ALTERED", about="events")
    return None


def events_keep(*, actor: str) -> Broken | None:
    """Seal and walk the chain, and write its newest digest into the audit trail: each chain vouches for the other."""
    events_seal()
    broken = events_verify()
    newest = EventSeal.objects.first()
    if newest is not None:
        record(
            "events.altered" if broken else "events.verified", actor=actor, subject=newest.digest,
            through=broken.through_event if broken else newest.through_event,
        )  # fmt: skip
    return broken


def _digest(previous: str, after: int, through: int) -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(DIGEST, {"previous": previous, "after": after, "through": through})
        events, digest = cursor.fetchone()
    return events, digest
