from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


class Fill(Owned):
    """What the exchange did to one order. Never edited; position and cash follow from it."""

    OWNER = "order__portfolio__owner"

    order = models.ForeignKey("execution.Order", on_delete=models.PROTECT, related_name="fills")
    execution_key = models.CharField(
        max_length=120, unique=True, help_text="account, trading day, broker order and trade number"
    )
    broker_trade_id = models.CharField(max_length=64)
    quantity = models.PositiveBigIntegerField(help_text="units, never lots")
    price = models.DecimalField(max_digits=14, decimal_places=4, help_text="rupees a unit")
    value_paise = models.BigIntegerField()
    filled_at = models.DateTimeField(help_text="exchange time, UTC")
    received_at = models.DateTimeField(help_text="wall time")
    source = models.CharField(max_length=16)
    synthetic = models.BooleanField(
        default=False, db_default=False, help_text="stands in for trades that the broker has not shown yet"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0) & Q(price__gt=0), name="fill_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} at {self.price}"


class ParkedFill(Owned):
    """A fill whose order we could not name when it arrived. Kept until its order is known; never thrown away."""

    OWNER = "account__owner"

    account = models.ForeignKey("accounts.BrokerAccount", on_delete=models.PROTECT, related_name="+")
    execution_key = models.CharField(max_length=120, unique=True)
    broker_order_id = models.CharField(max_length=40, db_index=True)
    fact = models.JSONField()
    received_at = models.DateTimeField()
    drained_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.execution_key
