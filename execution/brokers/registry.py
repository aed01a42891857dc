"""From an account's row to somebody who can speak to its broker."""

from django.conf import settings
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import seal, unseal
from execution.brokers.errors import AuthError
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.login import App, FyersLogin, sign_in_sandbox
from execution.brokers.port import CallClass, Tokens
from risk.order_rate import wait_for_turn
from trading.audit.record import record
from trading.monitoring.alerts import Level, raise_alert

AuthState = BrokerAccount.AuthState
RATE_CLASS = {CallClass.ORDER: "order", CallClass.EXIT: "exit", CallClass.CANCEL: "exit", CallClass.READ: "read"}
SECRET, TOKEN = "app_secret", "access_token"


def endpoints_of(account: BrokerAccount) -> Endpoints:
    """Where this account's broker lives: a sandbox by its address, the real one by its own hosts."""
    if account.is_live:
        return Endpoints.live()
    return Endpoints.of(sandbox_url(account))


def sandbox_url(account: BrokerAccount) -> str:
    """The address of a sandbox account: its own, or that of the desk's sandbox."""
    return account.base_url or settings.SANDBOX_URL


def app_of(account: BrokerAccount) -> App:
    secret = unseal(account.app_secret_sealed, owner_id=account.owner_id, purpose=SECRET)
    return App(app_id=account.app_id, secret=secret, redirect_uri=f"{sandbox_url(account)}/callback")


def credentials_of(account: BrokerAccount) -> Credentials:
    """The token of the day. AuthError (NOT_SIGNED_IN) where there is none that still lives."""
    expired = account.token_expires_at is None or account.token_expires_at <= timezone.now()
    if account.access_token_sealed is None or expired:
        raise AuthError("NOT_SIGNED_IN", f"{account.name} is not signed in.")
    token = unseal(account.access_token_sealed, owner_id=account.owner_id, purpose=TOKEN)
    return Credentials(app_id=account.app_id, access_token=token)


def gateway_of(account: BrokerAccount) -> FyersGateway:
    """A gateway with its own warm connection. Calls wait for their turn in the account's shared rate."""

    def before_call(klass: str) -> None:
        if klass != CallClass.PACED:  # that one has its turn already
            wait_for_turn(account.pk, RATE_CLASS[CallClass(klass)])

    return FyersGateway(endpoints=endpoints_of(account), credentials=credentials_of(account), before_call=before_call)


def sign_in(account: BrokerAccount) -> BrokerAccount:
    """Sign a sandbox account in without a person. A live account needs its owner: AuthError (NEEDS_LOGIN)."""
    if account.is_live or not endpoints_of(account).is_loopback:
        set_auth_state(account, AuthState.NEEDS_LOGIN, "the owner has to sign in at the broker")
        raise AuthError("NEEDS_LOGIN", f"{account.name}: its owner has to sign in at the broker.")
    app = app_of(account)
    tokens = sign_in_sandbox(endpoints=endpoints_of(account), app=app)
    return accept_tokens(account, tokens)


def accept_tokens(account: BrokerAccount, tokens: Tokens) -> BrokerAccount:
    """Validate new tokens against the broker's profile before the account counts as signed in, then seal them."""
    profile = FyersLogin(endpoints=endpoints_of(account), app=app_of(account)).whose(tokens)
    account.access_token_sealed = seal(tokens.access_token, owner_id=account.owner_id, purpose=TOKEN)
    account.token_expires_at = tokens.expires_at
    account.broker_user_id = profile.user_id
    account.validated_at = timezone.now()
    account.save(update_fields=["access_token_sealed", "token_expires_at", "broker_user_id", "validated_at"])
    set_auth_state(account, AuthState.AUTHENTICATED, "")
    return account


def set_auth_state(account: BrokerAccount, state: str, cause: str) -> None:
    """Move the row that gates read, with an audit entry when it changes."""
    changed = (
        BrokerAccount.objects.filter(pk=account.pk)
        .exclude(auth_state=state, auth_cause=cause[:200])
        .update(auth_state=state, auth_cause=cause[:200])
    )
    account.auth_state, account.auth_cause = state, cause[:200]
    if changed:
        record(
            "account.auth_changed", actor="engine", owner_id=account.owner_id, subject=str(account), state=str(state),
            cause=cause,
        )  # fmt: skip
        if state in (AuthState.NEEDS_LOGIN, AuthState.EXPIRED, AuthState.ERROR):
            raise_alert(
                "NEEDS_LOGIN", f"{account.name}: {cause}", level=Level.SEVERE, owner_id=account.owner_id,
                about=str(account.pk), next_step="Sign in at the broker.",
            )  # fmt: skip
