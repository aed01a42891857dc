from django.db import models


class EventSeal(models.Model):
    """A stretch of what was said about orders, sealed: a digest over its rows and over the seal before it."""

    after_event = models.BigIntegerField(help_text="number of the last event before it")
    through_event = models.BigIntegerField(unique=True, help_text="number of its own last event")
    events = models.PositiveIntegerField()
    previous_digest = models.CharField(max_length=64, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    sealed_at = models.DateTimeField(help_text="wall time")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"events {self.after_event + 1} to {self.through_event}"
