from datetime import datetime, timedelta

from django.conf import settings
from django.db import models

from accounts.ownership import Owned

USE_NOTED_EVERY = timedelta(minutes=1)


class ApiKey(Owned):
    """A program's right to act for a person. Only a keyed hash is kept; the key itself is shown once."""

    class Scope(models.TextChoices):
        READ = "read"
        TRADE = "trade"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=60)
    prefix = models.CharField(max_length=12, unique=True, help_text="shown, so that a key can be recognised")
    digest = models.CharField(max_length=64, unique=True, help_text="HMAC-SHA256 of the key")
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.READ)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def opens_at(self, now: datetime) -> bool:
        """Whether it opens anything at that instant of the wall clock."""
        over = self.expires_at is not None and self.expires_at <= now
        return self.revoked_at is None and self.owner.is_active and not over

    def is_noted_at(self, now: datetime) -> bool:
        """Whether it was written down lately that it is in use."""
        return self.last_used_at is not None and self.last_used_at >= now - USE_NOTED_EVERY
