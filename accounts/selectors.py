"""What pages and programs ask about people and their broker accounts."""

from accounts.models import BrokerAccount
from accounts.ownership import OwnedQuerySet

LOGIN_STATES = (
    BrokerAccount.AuthState.NEEDS_LOGIN,
    BrokerAccount.AuthState.EXPIRED,
    BrokerAccount.AuthState.ERROR,
)
_WAITING = ", ".join(f"'{state}'" for state in LOGIN_STATES)


def needs_login(account: str) -> str:
    """Whether nothing may leave for an account before somebody has signed in, in a statement that calls its number
    `account`. A paper account is signed in where its prices come from."""
    return f"""EXISTS (
        SELECT 1 FROM accounts_brokeraccount b WHERE b.id = {account} AND b.auth_state IN ({_WAITING})
        AND b.environment <> '{BrokerAccount.Environment.PAPER}'
    )"""  # noqa: S608 - made of constants


def accounts_of(user) -> OwnedQuerySet:
    """The broker accounts of one person, by name."""
    return BrokerAccount.objects.for_user(user).select_related("price_source").order_by("name")


def accounts_needing_login() -> OwnedQuerySet:
    """Accounts of everybody that cannot trade until somebody signs in: for the operator."""
    return BrokerAccount.objects.filter(auth_state__in=LOGIN_STATES).select_related("owner").order_by("name")
