"""A trade that is built up: pyramids (entries into it), their legs (laddered orders), parts that are closed early."""

from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.domain.orders import Reason


class Pyramid(Owned):
    """One entry into a trade. Index 0 opened it; each further signal of the same side added one."""

    OWNER = "group__portfolio__owner"

    group = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="pyramids")
    index = models.PositiveSmallIntegerField()
    signal = models.OneToOneField("strategies.Signal", on_delete=models.PROTECT, related_name="pyramid")
    entry_price = models.DecimalField(max_digits=14, decimal_places=4, help_text="what its gaps are measured from")
    quantity = models.PositiveBigIntegerField(help_text="units of all its legs together")
    created_at = models.DateTimeField(help_text="wall time")

    class Meta:
        ordering = ["group", "index"]
        constraints = [models.UniqueConstraint(fields=["group", "index"], name="pyramid_once")]

    def __str__(self) -> str:
        return f"pyramid {self.index} of {self.group_id}"


class Leg(Owned):
    """One laddered order of a pyramid. Its orders are the intents that name it; what is filled is their sum."""

    OWNER = "pyramid__group__portfolio__owner"

    pyramid = models.ForeignKey(Pyramid, on_delete=models.PROTECT, related_name="legs")
    index = models.PositiveSmallIntegerField()
    gap_pct = models.DecimalField(max_digits=7, decimal_places=3)
    weight_pct = models.DecimalField(max_digits=7, decimal_places=3)
    take_profit_pct = models.DecimalField(max_digits=7, decimal_places=3)
    limit_price = models.DecimalField(max_digits=14, decimal_places=4)
    quantity = models.PositiveBigIntegerField(help_text="units; 0: too small to be sent")
    blocked_code = models.CharField(max_length=40, blank=True, help_text="why it is not at the broker")
    blocked = models.CharField(max_length=240, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True, help_text="wall time of the next try; empty: none")

    class Meta:
        ordering = ["pyramid", "index"]
        constraints = [models.UniqueConstraint(fields=["pyramid", "index"], name="leg_once")]

    def __str__(self) -> str:
        return f"leg {self.index} of pyramid {self.pyramid_id}"


class PartExit(Owned):
    """A part of a trade that is to be closed while the rest goes on: a take-profit, a reduction, a booked part.

    WAITING for its price, ASKED for, DONE, or DROPPED because there was nothing left to close. Its orders are the
    intents that name it. With `rests` its limit order waits at the broker; else it is sent when asked for, and what
    does not trade is tried again.
    """

    OWNER = "group__portfolio__owner"

    class State(models.TextChoices):
        WAITING = "WAITING", "waits for its price"
        ASKED = "ASKED", "asked for"
        DONE = "DONE", "done"
        DROPPED = "DROPPED", "nothing left to close"

    group = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="parts")
    leg = models.ForeignKey(Leg, null=True, blank=True, on_delete=models.PROTECT, related_name="parts")
    pyramid = models.ForeignKey(Pyramid, null=True, blank=True, on_delete=models.PROTECT, related_name="parts")
    key = models.CharField(max_length=80, help_text="what makes a repeat the same wish")
    reason = models.CharField(max_length=12, choices=[(r, r) for r in Reason if not r.opens])
    quantity = models.PositiveBigIntegerField(help_text="units in all, those closed already included")
    trigger_price = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, blank=True, help_text="asked for when the market trades there"
    )
    limit_price = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, blank=True, help_text="not below (a buy: above) this price"
    )
    rests = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.ASKED)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(help_text="wall time")
    asked_at = models.DateTimeField(null=True, blank=True, help_text="wall time, of the last asking")
    done_at = models.DateTimeField(null=True, blank=True, help_text="wall time")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["group", "key"], name="part_exit_once")]
        indexes = [models.Index(fields=["group"], condition=Q(state__in=["WAITING", "ASKED"]), name="part_exit_open")]

    def __str__(self) -> str:
        return f"{self.reason} {self.quantity} of {self.group_id}"
