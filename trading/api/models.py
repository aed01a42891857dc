"""What every endpoint shares: the memory of requests that must not happen twice."""

from django.conf import settings
from django.db import models

from accounts.ownership import Owned


class IdempotencyRecord(Owned):
    """One request that trades, under the key its caller gave it, and what it was answered."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    request_hash = models.CharField(max_length=64, help_text="SHA-256 of method, path and body")
    claimed_at = models.DateTimeField(null=True, help_text="wall time; empty: nobody is at work on it")
    status = models.PositiveSmallIntegerField(null=True, help_text="empty until it was answered")
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key
