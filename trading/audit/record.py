"""The one way to write into the audit trail."""

import hashlib
import json
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from trading.audit.models import AuditEntry

CHAIN_LOCK = 0x7A12A2  # one writer at a time, so that the chain has no forks
GENESIS = "0" * 64


def seal(
    *, previous_hash: str, at: datetime, action: str, actor: str, owner_id: int | None, subject: str, detail: dict
) -> str:
    """SHA-256 over the previous seal and the canonical JSON of the entry."""
    body = json.dumps(
        [previous_hash, at.isoformat(timespec="microseconds"), action, actor, owner_id, subject, detail],
        sort_keys=True, separators=(",", ":"), default=str,
    )  # fmt: skip
    return hashlib.sha256(body.encode()).hexdigest()


@transaction.atomic
def record(action: str, *, actor: str, owner_id: int | None = None, subject: str = "", **detail: object) -> AuditEntry:
    """Append one entry, in the caller's transaction: what was rolled back was never done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
    last = AuditEntry.objects.order_by("-id").values_list("entry_hash", flat=True).first() or GENESIS
    plain = json.loads(json.dumps(detail, default=str))
    at = timezone.now()
    entry_hash = seal(
        previous_hash=last, at=at, action=action, actor=actor, owner_id=owner_id, subject=subject, detail=plain
    )
    return AuditEntry.objects.create(
        at=at, action=action, actor=actor, owner_id=owner_id, subject=subject, detail=plain,
        previous_hash=last, entry_hash=entry_hash,
    )  # fmt: skip


def verify_chain() -> int | None:
    """Walk the whole chain. The id of the first entry that does not fit, or None when all is well."""
    previous = GENESIS
    for entry in AuditEntry.objects.order_by("id").iterator():
        expected = seal(
            previous_hash=previous, at=entry.at, action=entry.action, actor=entry.actor,
            owner_id=entry.owner_id, subject=entry.subject, detail=entry.detail,
        )  # fmt: skip
        if entry.previous_hash != previous or entry.entry_hash != expected:
            return entry.pk
        previous = entry.entry_hash
    return None
