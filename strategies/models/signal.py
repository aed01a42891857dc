import uuid

from django.db import models

from accounts.ownership import Owned
from trading.domain.orders import Side


class Signal(Owned):
    """An opinion of a contract about one instrument at one bar close, in words and numbers."""

    OWNER = "portfolio__owner"

    class State(models.TextChoices):
        NEW = "NEW"
        ACCEPTED = "ACCEPTED"
        REFUSED = "REFUSED"
        EXPIRED = "EXPIRED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="signals")
    deployment = models.ForeignKey("strategies.Deployment", on_delete=models.PROTECT, related_name="signals")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    entry = models.DecimalField(max_digits=14, decimal_places=4)
    stop = models.DecimalField(max_digits=14, decimal_places=4)
    target = models.DecimalField(max_digits=14, decimal_places=4, null=True, help_text="empty: it ends another way")
    score = models.FloatField(default=0)
    features = models.JSONField(default=dict)
    explanation = models.TextField()
    bar_at = models.DateTimeField(help_text="close of the deciding bar, venue time")
    created_at = models.DateTimeField(help_text="wall time")
    expires_at = models.DateTimeField(help_text="wall time")
    dedupe_key = models.CharField(max_length=120, unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.NEW)
    refusal_code = models.CharField(max_length=40, blank=True)
    refusal = models.CharField(max_length=240, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["portfolio", "-created_at"], name="signal_newest"),
            models.Index(fields=["state"], condition=models.Q(state="NEW"), name="signal_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.instrument}"
