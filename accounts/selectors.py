"""What pages and programs ask about people and their broker accounts."""

from accounts.models import BrokerAccount
from accounts.ownership import OwnedQuerySet

LOGIN_STATES = (
    BrokerAccount.AuthState.NEEDS_LOGIN,
    BrokerAccount.AuthState.EXPIRED,
    BrokerAccount.AuthState.ERROR,
)


def accounts_of(user) -> OwnedQuerySet:
    """The broker accounts of one person, by name."""
    return BrokerAccount.objects.for_user(user).select_related("price_source").order_by("name")


def accounts_needing_login() -> OwnedQuerySet:
    """Accounts of everybody that cannot trade until somebody signs in: for the operator."""
    return BrokerAccount.objects.filter(auth_state__in=LOGIN_STATES).select_related("owner").order_by("name")
