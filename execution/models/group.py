import uuid

from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from trading.domain.orders import Product, Reason, Side


class Group(Owned):
    """One trade from idea to flat: its entry, its protection, its way out."""

    OWNER = "portfolio__owner"

    class State(models.TextChoices):
        WAITING = "WAITING", "not at the broker yet"
        LIVE = "LIVE", "at the broker, nothing filled"
        PARTIAL = "PARTIAL", "partly filled, entries work"
        ACTIVE = "ACTIVE", "held, no entry works"
        CLOSING = "CLOSING", "being closed"
        CLOSED = "CLOSED", "closed"

    HELD = (State.PARTIAL, State.ACTIVE)
    """States of a trade that holds something and is not on its way out."""
    BEGINNING = (State.WAITING, State.LIVE)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="groups")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+", db_index=False)
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product])
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    signal = models.ForeignKey(
        "strategies.Signal", null=True, on_delete=models.PROTECT, related_name="groups", db_index=False
    )
    stop_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    target_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    trail_price = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, blank=True, help_text="trailing stop, watched by the engine"
    )
    resting_stop = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, blank=True,
        help_text="where the stop at the broker belongs since a drawdown drew it nearer; empty: where it began",
    )  # fmt: skip
    judged_through = models.DateTimeField(null=True, blank=True, help_text="close of the last bar its rules saw")
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    close_reason = models.CharField(max_length=12, blank=True, choices=[(r, r) for r in Reason])
    failure_code = models.CharField(max_length=40, blank=True, help_text="why it ended without ever holding anything")
    failure = models.CharField(max_length=240, blank=True)
    timeframe = models.CharField(max_length=8, blank=True, help_text="of the signal that opened it")
    ladder = models.ForeignKey(
        "execution.LadderPlan", null=True, blank=True, on_delete=models.PROTECT, related_name="groups", db_index=False,
        help_text="how it is built up; empty: one entry",
    )  # fmt: skip
    close_asked_by = models.CharField(max_length=150, blank=True)
    quarantined = models.BooleanField(
        default=False, help_text="something was booked that should not have been possible"
    )
    created_at = models.DateTimeField(help_text="wall time")
    opened_at = models.DateTimeField(null=True, help_text="venue time of the first fill")
    closed_at = models.DateTimeField(null=True, help_text="venue time")

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=[whose], condition=Q(**{f"{whose}__isnull": False}), name=f"group_of_{whose}")
            for whose in ("signal", "ladder")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "instrument", "product"], condition=~Q(state="CLOSED"), name="group_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.instrument} {self.state}"
