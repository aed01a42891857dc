"""Up to which instant of venue time all candles of a feed are stored. The scanner waits for it; nothing is guessed."""

from datetime import UTC, datetime

from django.utils import timezone

from trading.monitoring.models import Heartbeat


def _name(feed_name: str) -> str:
    return f"candles:{feed_name}"


def candles_through(feed_name: str) -> datetime | None:
    """The instant before which every candle that will ever be is stored; None when nobody has said so yet."""
    beat = Heartbeat.objects.filter(name=_name(feed_name)).first()
    return datetime.fromtimestamp(beat.detail["through"], UTC) if beat else None


def set_candles_through(feed_name: str, through: datetime) -> None:
    Heartbeat.objects.update_or_create(
        name=_name(feed_name), defaults={"at": timezone.now(), "detail": {"through": through.timestamp()}}
    )
