from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.domain.orders import Side


class Pool(Owned):
    """The row under whose lock slots of a portfolio are given away. A slot is a trade that is not closed."""

    OWNER = "portfolio__owner"

    portfolio = models.OneToOneField("portfolio.Portfolio", on_delete=models.PROTECT, related_name="pool")

    def __str__(self) -> str:
        return f"pool of {self.portfolio_id}"


class QueuedSignal(Owned):
    """A signal that waits: for a slot, for its instrument to be flat, or for facts about its instrument."""

    OWNER = "portfolio__owner"

    class Cause(models.TextChoices):
        POOL_FULL = "POOL_FULL", "every slot is taken"
        NOT_FLAT = "NOT_FLAT", "another trade in it must end first"
        METADATA_STALE = "METADATA_STALE", "tick and lot of the instrument are too old to be trusted"
        ENGINE_NOT_READY = "ENGINE_NOT_READY", "the engine is not ready"

    class State(models.TextChoices):
        WAITING = "WAITING"
        PROMOTED = "PROMOTED"
        REFUSED = "REFUSED", "refused when its turn came"
        REPLACED = "REPLACED", "a newer signal took its place"
        REMOVED = "REMOVED"
        EXPIRED = "EXPIRED"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="queue")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    signal = models.OneToOneField("strategies.Signal", on_delete=models.PROTECT, related_name="queued")
    entry_price = models.DecimalField(max_digits=14, decimal_places=4)
    expected_profit_pct = models.DecimalField(max_digits=9, decimal_places=4, default=0)
    replacement_count = models.PositiveIntegerField(default=0)
    cause = models.CharField(max_length=16, choices=Cause)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    force_by = models.CharField(max_length=150, blank=True, help_text="who lets it in before its turn")
    over_limit = models.BooleanField(default=False, db_default=False, help_text="a slot is made for it")
    rank = models.PositiveIntegerField(null=True, blank=True, help_text="as of the last look; 1 is next")
    rank_reason = models.CharField(max_length=240, blank=True)
    said = models.CharField(max_length=240, blank=True, help_text="how its wait ended")
    enqueued_at = models.DateTimeField(help_text="wall time")
    expires_at = models.DateTimeField(help_text="wall time")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="wall time")

    class Meta:
        ordering = ["rank", "enqueued_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "instrument", "side"], condition=Q(state="WAITING"), name="queued_once"
            )
        ]
        indexes = [models.Index(fields=["portfolio"], condition=Q(state="WAITING"), name="queue_waiting")]

    def __str__(self) -> str:
        return f"{self.side} {self.instrument} {self.state}"
