import uuid

from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.domain.orders import OrderType, Product, Reason, Side


class Intent(Owned):
    """What somebody or something wanted to be done, and whether risk allowed it. One key, one intent."""

    OWNER = "portfolio__owner"

    class Source(models.TextChoices):
        SIGNAL = "SIGNAL"
        API = "API"
        PAGE = "PAGE"
        SYSTEM = "SYSTEM"

    class State(models.TextChoices):
        APPROVED = "APPROVED"
        REFUSED = "REFUSED"
        WAITING = "WAITING"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    group = models.ForeignKey("execution.Group", null=True, on_delete=models.PROTECT, related_name="intents")
    signal = models.ForeignKey(
        "strategies.Signal", null=True, on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    leg = models.ForeignKey(
        "execution.Leg", null=True, blank=True, on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    part = models.ForeignKey(
        "execution.PartExit", null=True, blank=True, on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    parent = models.ForeignKey(
        "execution.ParentOrder", null=True, blank=True, on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    source = models.CharField(max_length=8, choices=Source)
    reason = models.CharField(max_length=12, choices=[(r, r) for r in Reason])
    dedupe_key = models.CharField(max_length=160, help_text="what makes a repeat the same wish")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+", db_index=False)
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product])
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    order_type = models.CharField(max_length=10, choices=[(t, t) for t in OrderType])
    limit_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    trigger_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    stop_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    target_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    wanted_quantity = models.PositiveBigIntegerField()
    allowed_quantity = models.PositiveBigIntegerField()
    state = models.CharField(max_length=8, choices=State)
    refusal_code = models.CharField(max_length=40, blank=True)
    refusal = models.CharField(max_length=240, blank=True)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(help_text="wall time")
    decide_by = models.DateTimeField(null=True, help_text="wall time until which a person may approve it")
    venue_at = models.DateTimeField(help_text="venue time of the decision")

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["portfolio", "instrument", "-created_at"], name="intent_newest_of"),
            *(
                models.Index(fields=[whose], condition=Q(**{f"{whose}__isnull": False}), name=f"intent_of_{whose}")
                for whose in ("signal", "leg", "part", "parent")
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["portfolio", "dedupe_key"], name="intent_once"),
            models.CheckConstraint(
                condition=Q(allowed_quantity__lte=models.F("wanted_quantity")), name="intent_never_grows"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} {self.side} {self.wanted_quantity} {self.instrument}"
