from django.db import models

from accounts.ownership import Owned


class EngineLease(Owned):
    """Which engine may speak for an account, and how it is doing. The token only grows: an old holder is fenced off."""

    OWNER = "account__owner"

    class State(models.TextChoices):
        STOPPED = "STOPPED"
        PREFLIGHT = "PREFLIGHT"
        RUNNING = "RUNNING"
        PAUSED = "PAUSED"
        HALTED = "HALTED"

    account = models.OneToOneField("accounts.BrokerAccount", on_delete=models.CASCADE, related_name="engine")
    holder = models.CharField(max_length=80, blank=True)
    token = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, help_text="wall time")
    state = models.CharField(max_length=10, choices=State, default=State.STOPPED)
    cause = models.CharField(max_length=200, blank=True)
    paused_by = models.CharField(max_length=150, blank=True, help_text="a person asked for the pause")
    streams = models.JSONField(default=dict, help_text="state of the order and price sockets")
    gates = models.JSONField(default=list, db_default=[], help_text="its preflight: name, ok, cause, blocks")
    build = models.CharField(
        max_length=16, blank=True, default="", db_default="", help_text="digest of the code that the engine runs"
    )
    beat_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.account} {self.state}"
