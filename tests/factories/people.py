from decimal import Decimal

import factory
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.utils import timezone

from accounts.models import BrokerAccount, User
from accounts.second_factor import FreshFactor
from accounts.secrets import seal
from execution.brokers.paper_account import open_paper_account

PASSWORD = "a-long-enough-passphrase"


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"trader{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    password = factory.django.Password(PASSWORD)

    class Params:
        operator = factory.Trait(is_staff=True, is_superuser=True)


class BrokerAccountFactory(factory.django.DjangoModelFactory):
    """A signed-in account at the sandbox exchange, with sealed secrets."""

    class Meta:
        model = BrokerAccount

    owner = factory.SubFactory(UserFactory)
    name = factory.Sequence(lambda n: f"Paper {n}")
    broker = BrokerAccount.Broker.FYERS
    environment = BrokerAccount.Environment.SANDBOX
    feed = "sandbox"
    base_url = "http://127.0.0.1:7401"
    app_id = "SANDBOX-100"
    app_secret_sealed = factory.LazyAttribute(
        lambda account: seal("app-secret", owner_id=account.owner.pk, purpose="app_secret")
    )
    access_token_sealed = factory.LazyAttribute(
        lambda account: seal("access-token", owner_id=account.owner.pk, purpose="access_token")
    )
    auth_state = BrokerAccount.AuthState.AUTHENTICATED


def paper_account_on(source: BrokerAccount, *, cash: str = "1000000", **terms: Decimal) -> BrokerAccount:
    """A paper account on the prices of another account, with its book and its portfolio."""
    portfolio = open_paper_account(
        owner=source.owner, name=f"On {source.name}", price_source_id=source.pk, opening_cash=Decimal(cash), **terms
    )
    return portfolio.account


TOTP_SECRET = "JBSWY3DPEHPK3PXP"


def a_factor() -> FreshFactor:
    """A second factor that has just been given."""
    return FreshFactor(0, "totp", timezone.now())


def set_up_factor(user: User) -> None:
    """An authenticator app for this person."""
    TOTP.activate(user, TOTP_SECRET)


def code_now(*, later: int = 0) -> str:
    """What the app shows; `later` counts steps of thirty seconds."""
    step = int(timezone.now().timestamp()) // 30 + later
    return format_hotp_value(hotp_value(TOTP_SECRET, step))
