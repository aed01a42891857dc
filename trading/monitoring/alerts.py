"""Tell somebody. The same trouble, while it is not acknowledged, is one alert that counts."""

from django.db import connection
from django.utils import timezone

from trading.monitoring.models import Alert
from trading.realtime.publish import publish

Level = Alert.Level

UPSERT = """
INSERT INTO monitoring_alert (owner_id, level, code, message, next_step, dedupe_key, count, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, 1, %s, %s)
ON CONFLICT (dedupe_key) WHERE acknowledged_at IS NULL
DO UPDATE SET count = monitoring_alert.count + 1, last_at = excluded.last_at, message = excluded.message,
    next_step = excluded.next_step
RETURNING id
"""


def raise_alert(
    code: str, message: str, *, level: str = Level.WARNING, owner_id: int | None = None, about: str = "",
    next_step: str = "",
) -> int:  # fmt: skip
    """Record an alert about one thing and show it to its owner. Returns its id."""
    now = timezone.now()
    key = f"{code}:{owner_id or 'desk'}:{about}"[:120]
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, [owner_id, level, code, message[:300], next_step[:200], key, now, now])
        alert_id: int = cursor.fetchone()[0]
    if owner_id is not None:
        publish(owner_id, "alert", id=alert_id, code=code, level=str(level))
    return alert_id


def clear_alerts(code: str, *, owner_id: int | None = None, about: str = "") -> int:
    """The trouble is over: acknowledge what was said about it."""
    key = f"{code}:{owner_id or 'desk'}:{about}"[:120]
    return Alert.objects.filter(dedupe_key=key, acknowledged_at=None).update(acknowledged_at=timezone.now())
