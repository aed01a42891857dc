import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


def new_postback_key() -> str:
    """256 bits, as they stand in an address."""
    return secrets.token_urlsafe(32)


class BrokerAccount(Owned):
    """One person's account at one broker, with its sign-in. Secrets are sealed; see accounts.secrets.

    A PAPER account is kept by the desk itself and lives on the prices of another account of the same person, its
    `price_source`: it has that one's broker, feed and clock, and no sign-in of its own.
    """

    SEALED = (("app_secret_sealed", "app_secret"), ("access_token_sealed", "access_token"))

    class Broker(models.TextChoices):
        FYERS = "FYERS", "FYERS"
        ZERODHA = "ZERODHA", "Zerodha"

    class Environment(models.TextChoices):
        SANDBOX = "SANDBOX"
        LIVE = "LIVE"
        PAPER = "PAPER"

    class AuthState(models.TextChoices):
        UNKNOWN = "UNKNOWN"
        AUTHENTICATED = "AUTHENTICATED"
        NEEDS_LOGIN = "NEEDS_LOGIN"
        EXPIRED = "EXPIRED"
        ERROR = "ERROR"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="broker_accounts")
    name = models.CharField(max_length=60)
    broker = models.CharField(max_length=12, choices=Broker)
    environment = models.CharField(max_length=8, choices=Environment)
    feed = models.CharField(max_length=32, help_text="name of the feed whose prices and clock this account lives by")
    price_source = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="paper_accounts",
        help_text="of a paper account: whose connection brings its prices",
    )  # fmt: skip
    base_url = models.URLField(blank=True, help_text="sandbox address; empty for the broker's own hosts")
    app_id = models.CharField(max_length=40, blank=True)
    app_secret_sealed = models.BinaryField(null=True)
    access_token_sealed = models.BinaryField(null=True)
    broker_user_id = models.CharField(max_length=40, blank=True)
    auth_state = models.CharField(max_length=16, choices=AuthState, default=AuthState.UNKNOWN)
    auth_cause = models.CharField(max_length=200, blank=True)
    token_expires_at = models.DateTimeField(null=True)
    validated_at = models.DateTimeField(null=True, help_text="when the token of the day was taken in")
    checked_at = models.DateTimeField(null=True, help_text="when the broker last said that it still opens")
    postback_key = models.CharField(
        max_length=43, unique=True, default=new_postback_key, help_text="the last part of the address for postbacks"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="account_name_once_per_owner"),
            models.CheckConstraint(
                condition=Q(environment="PAPER", price_source__isnull=False)
                | (~Q(environment="PAPER") & Q(price_source=None, app_secret_sealed__isnull=False)),
                name="paper_lives_on_a_price_source",
            ),
            models.UniqueConstraint(
                fields=["broker", "broker_user_id"],
                condition=Q(environment="LIVE") & ~Q(broker_user_id=""),
                name="live_client_of_a_broker_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.broker} {self.environment})"

    @property
    def is_live(self) -> bool:
        """Its orders are for real money."""
        return self.environment == self.Environment.LIVE

    @property
    def is_paper(self) -> bool:
        """The desk itself keeps its book: see `execution.brokers.paper`."""
        return self.environment == self.Environment.PAPER

    @property
    def source(self) -> "BrokerAccount":
        """The account whose connection brings its prices: itself, but for a paper account."""
        return self.price_source or self

    @property
    def has_market_prices(self) -> bool:
        """Its prices are those of the real exchange, whatever becomes of its orders."""
        return self.source.is_live
