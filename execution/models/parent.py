from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.domain.orders import Product, Side


class ParentOrder(Owned):
    """A large entry that is let out in children, over time (TWAP) or the next when the last has filled (iceberg).

    Its children are the orders of the intents that name it; what is filled of it is their sum. LIVE while children may
    follow; with a `code` it is on its way out: what works of it is being cancelled.
    """

    OWNER = "portfolio__owner"

    class Style(models.TextChoices):
        TWAP = "TWAP", "over time"
        ICEBERG = "ICEBERG", "iceberg"

    class State(models.TextChoices):
        LIVE = "LIVE", "being worked"
        DONE = "DONE", "all of it filled"
        SHORT = "SHORT", "ended with less"
        REFUSED = "REFUSED", "refused"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="parent_orders")
    group = models.ForeignKey("execution.Group", null=True, on_delete=models.PROTECT, related_name="parent_orders")
    signal = models.ForeignKey(
        "strategies.Signal", null=True, blank=True, on_delete=models.PROTECT, related_name="parent_orders"
    )
    source = models.CharField(max_length=8, help_text="as of an intent")
    dedupe_key = models.CharField(max_length=160, help_text="what makes a repeat the same wish")
    actor = models.CharField(max_length=150)
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product])
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    style = models.CharField(max_length=7, choices=Style)
    wanted_quantity = models.PositiveBigIntegerField(help_text="units asked for")
    quantity = models.PositiveBigIntegerField(help_text="units that risk allowed in all")
    limit_price = models.DecimalField(
        max_digits=14, decimal_places=4, help_text="no child beyond it", validators=[MinValueValidator(0)]
    )
    stop_price = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    target_price = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    slices = models.PositiveSmallIntegerField(default=0, help_text="TWAP: turns")
    visible_quantity = models.PositiveBigIntegerField(default=0, help_text="iceberg: units shown at once")
    starts_at = models.DateTimeField(help_text="venue time, like the next two")
    ends_at = models.DateTimeField(help_text="nothing of it works after this")
    next_at = models.DateTimeField(null=True, blank=True, help_text="of the next child; empty: as soon as it may")
    turns = models.PositiveIntegerField(default=0, help_text="how often children were asked for")
    state = models.CharField(max_length=8, choices=State, default=State.LIVE)
    waits = models.CharField(max_length=240, blank=True, help_text="why no child was let out at its last turn")
    code = models.CharField(max_length=40, blank=True, help_text="why it ends before it is filled")
    said = models.CharField(max_length=240, blank=True)
    created_at = models.DateTimeField(help_text="wall time, like the next")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["portfolio", "dedupe_key"], name="parent_order_once"),
            models.CheckConstraint(condition=Q(quantity__lte=models.F("wanted_quantity")), name="parent_never_grows"),
            models.CheckConstraint(
                condition=Q(style="TWAP", slices__gt=0) | Q(style="ICEBERG", visible_quantity__gt=0),
                name="parent_has_its_size",
            ),
        ]
        indexes = [
            models.Index(fields=["portfolio", "-id"], name="parent_newest"),
            models.Index(fields=["group"], condition=Q(state="LIVE"), name="parent_live"),
        ]

    def __str__(self) -> str:
        return f"{self.style} {self.side} {self.quantity} {self.instrument} {self.state}"

    @property
    def is_live(self) -> bool:
        return self.state == self.State.LIVE

    @property
    def slice_s(self) -> float:
        """Seconds of market time between two turns of a TWAP."""
        return (self.ends_at - self.starts_at).total_seconds() / max(1, self.slices)
