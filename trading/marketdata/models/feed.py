"""The feeds that prices come from."""

from django.db import models

from trading.domain.clock import VirtualClock


class Feed(models.Model):
    """One source of prices with its own time: the exchange, a sandbox session, a replayed day.

    Prices of different feeds never mix: a simulated candle must not decide a real trade.
    """

    class Kind(models.TextChoices):
        EXCHANGE = "EXCHANGE"
        SANDBOX = "SANDBOX"
        REPLAY = "REPLAY"

    name = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    anchored_at = models.DateTimeField(null=True, help_text="wall time of the last clock reading; empty: real time")
    venue_at = models.DateTimeField(null=True, help_text="venue time of that reading")
    speed = models.FloatField(default=1.0)
    phase = models.CharField(max_length=20, blank=True)
    session_date = models.DateField(null=True)

    def __str__(self) -> str:
        return self.name

    def clock(self) -> VirtualClock | None:
        """The feed's clock, or None where venue time is wall time."""
        if self.anchored_at is None or self.venue_at is None:
            return None
        return VirtualClock(self.anchored_at, self.venue_at, self.speed)
