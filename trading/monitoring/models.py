"""What the desk knows of its own health."""

from django.db import models
from django.db.models import Q


class Alert(models.Model):
    """Something a person should know. The same trouble counts up instead of piling up."""

    class Level(models.TextChoices):
        INFO = "INFO"
        WARNING = "WARNING"
        SEVERE = "SEVERE"

    owner_id = models.BigIntegerField(null=True, help_text="whom it concerns; empty: the operator")
    level = models.CharField(max_length=8, choices=Level)
    code = models.CharField(max_length=48)
    message = models.CharField(max_length=300)
    next_step = models.CharField(max_length=200, blank=True)
    dedupe_key = models.CharField(max_length=120)
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(fields=["dedupe_key"], condition=Q(acknowledged_at=None), name="alert_open_once")
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.code}"


class Heartbeat(models.Model):
    """The last sign of life of one part of the desk."""

    name = models.CharField(max_length=80, unique=True)
    at = models.DateTimeField(help_text="wall time, UTC")
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name


class JobSlot(models.Model):
    """A periodic job and the last slot it took: two beats, or a late one, find nothing left to do."""

    name = models.CharField(max_length=80, unique=True)
    last_slot = models.BigIntegerField(default=0, help_text="ordinal of the period, from the epoch")
    taken_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
