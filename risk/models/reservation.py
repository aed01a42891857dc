from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


class RiskBucket(Owned):
    """How much of one limit is spoken for: reserved by orders under way, used by what was filled.

    The cap lives in the statement that reserves, never here: a fill that happened is booked above any cap.
    """

    OWNER = "portfolio__owner"

    class Kind(models.TextChoices):
        SLOTS = "SLOTS", "open positions"
        EXPOSURE = "EXPOSURE", "gross notional, paise"
        SYMBOL = "SYMBOL", "notional of one instrument, paise"
        TRADES = "TRADES", "entries of one day"
        ACCOUNT = "ACCOUNT", "gross notional of a broker account, paise"
        DAY = "DAY", "notional opened in one day, paise"
        SEGMENT = "SEGMENT", "notional of one segment, paise"
        SECTOR = "SECTOR", "notional of one sector, paise"
        STRATEGY = "STRATEGY", "open positions of one strategy"

    COUNTS = frozenset({Kind.SLOTS, Kind.TRADES, Kind.STRATEGY})
    """Kinds that count trades; all others hold paise."""

    key = models.CharField(max_length=96)
    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.CASCADE, related_name="buckets")
    kind = models.CharField(max_length=10, choices=Kind)
    reserved = models.BigIntegerField(default=0, help_text="by orders that may still fill")
    used = models.BigIntegerField(default=0, help_text="by what was filled")
    version = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="bucket_of_key"),
            models.CheckConstraint(condition=Q(reserved__gte=0) & Q(used__gte=0), name="bucket_not_negative"),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def taken(self) -> int:
        return self.reserved + self.used


class Reservation(Owned):
    """What one group holds of one bucket, from its intent until it is flat and nothing of it is live."""

    OWNER = "bucket__portfolio__owner"

    # Some eight rows an order, written by the statement that has just taken from their buckets.
    bucket = models.ForeignKey(
        RiskBucket, on_delete=models.PROTECT, related_name="reservations", db_index=False, db_constraint=False
    )
    intent_id = models.UUIDField()
    amount = models.BigIntegerField(help_text="not filled yet")
    used = models.BigIntegerField(default=0, help_text="filled")
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["intent_id", "bucket"], name="reserved_once"),
            models.CheckConstraint(condition=Q(amount__gte=0) & Q(used__gte=0), name="reservation_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.bucket}"
