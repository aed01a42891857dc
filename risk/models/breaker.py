from django.db import models

from accounts.ownership import Owned


class Breaker(Owned):
    """The circuit breaker of one class of calls of one broker account: one row that all its processes share."""

    OWNER = "account__owner"

    class State(models.TextChoices):
        CLOSED = "CLOSED"
        OPEN = "OPEN"
        HALF_OPEN = "HALF_OPEN"

    account = models.ForeignKey("accounts.BrokerAccount", on_delete=models.CASCADE, related_name="breakers")
    call_class = models.CharField(max_length=12, help_text="ORDER_WRITE, READ, DATA, STREAM")
    state = models.CharField(max_length=10, choices=State, default=State.CLOSED)
    failures = models.PositiveIntegerField(default=0, help_text="in a row")
    times_opened = models.PositiveIntegerField(default=0, help_text="without a success between them")
    cause = models.CharField(max_length=200, blank=True)
    opened_at = models.DateTimeField(null=True, help_text="wall time")
    retry_at = models.DateTimeField(null=True, help_text="wall time from which one call may try")
    probe_until = models.DateTimeField(null=True, help_text="wall time until which one call is trying")
    exit_free_at = models.DateTimeField(null=True, help_text="wall time of the next exit or cancel while it is open")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "call_class"], name="breaker_once")]

    def __str__(self) -> str:
        return f"{self.account} {self.call_class} {self.state}"
