from django.conf import settings
from django.db import models

from accounts.models.broker_account import BrokerAccount
from accounts.ownership import Owned


class BrokerLogin(Owned):
    """One errand to a broker's sign-in page: begun by one person, in one session, good once and for ten minutes.

    Only a digest of the word that travels with it is kept.
    """

    OWNER = "user"

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="logins")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    state_digest = models.CharField(max_length=64, unique=True)
    session_digest = models.CharField(max_length=64)
    begun_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=40, blank=True, help_text="AUTHENTICATED, or the code of what went wrong")

    class Meta:
        ordering = ["-begun_at"]

    def __str__(self) -> str:
        return f"{self.account}, {self.begun_at:%Y-%m-%d %H:%M}"
