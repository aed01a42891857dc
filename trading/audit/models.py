"""The memory of the desk: one chain of entries that only grows."""

from django.db import models


class AuditEntry(models.Model):
    """One deliberate act, by a person or by the desk itself. Each entry seals the one before it."""

    at = models.DateTimeField(help_text="wall time, UTC")
    action = models.CharField(max_length=64, help_text="past tense, dotted: position.close_requested")
    actor = models.CharField(max_length=150, help_text="user name, or the part of the desk that acted")
    owner_id = models.BigIntegerField(null=True, help_text="user whose money it concerns; empty for the house")
    subject = models.CharField(max_length=120, blank=True)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    entry_hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit trail"
        indexes = [models.Index(fields=["owner_id", "-id"], name="audit_by_owner")]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
