"""One option chain as it was seen: all strikes of one expiry, packed into a row."""

from django.db import models


class ChainSnapshot(models.Model):
    """What the exchange's chain of one expiry said at one of its own instants. Never edited but for its repeats.

    `packed` holds float64[fields, strikes], compressed (`option_chain` says which fields). Quantities in units. A chain
    that arrives again with the same exchange time and the same numbers is counted, not stored again.
    """

    exchange = models.CharField(max_length=8)
    underlying = models.CharField(max_length=40, help_text="NIFTY")
    expiry = models.DateField()
    source = models.CharField(max_length=24)
    exchange_at = models.DateTimeField(help_text="the exchange's own time stamp")
    stored_at = models.DateTimeField(help_text="when we had it")
    last_stored_at = models.DateTimeField(help_text="when it came for the last time")
    repeats = models.PositiveIntegerField(default=0, help_text="how often it came again unchanged")
    digest = models.CharField(max_length=64)
    spot = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    strikes = models.PositiveIntegerField()
    call_oi = models.BigIntegerField()
    put_oi = models.BigIntegerField()
    packed = models.BinaryField()

    class Meta:
        ordering = ["-exchange_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["exchange", "underlying", "expiry", "source", "exchange_at", "digest"], name="chain_once"
            ),
            models.CheckConstraint(condition=models.Q(strikes__gt=0), name="chain_has_strikes"),
        ]
        indexes = [models.Index(fields=["underlying", "expiry", "-stored_at"], name="chains_by_time")]

    def __str__(self) -> str:
        return f"{self.underlying} {self.expiry} at {self.exchange_at:%Y-%m-%d %H:%M:%S}"

    @property
    def lag_s(self) -> float:
        """Seconds between the exchange's time and ours."""
        return (self.stored_at - self.exchange_at).total_seconds()

    @property
    def put_call_ratio(self) -> float | None:
        return self.put_oi / self.call_oi if self.call_oi else None
