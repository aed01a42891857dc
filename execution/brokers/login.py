"""Signing in at a broker: the errand is begun here, a person does it there, and the answer is taken in here.

Nothing waits for a person: an account that is not signed in says so in its row, and the desk goes on without it.
"""

import hashlib
import hmac
import logging
import secrets
from datetime import timedelta
from urllib.parse import parse_qs

from django.db import transaction
from django.utils import timezone

from accounts.models import BrokerAccount, BrokerLogin, User
from accounts.secrets import seal
from execution.brokers.errors import AuthError, BrokerError
from execution.brokers.registry import SECRET, AuthState, accept_tokens, gateway_of, login_of, set_auth_state
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed
from trading.marketdata.models import Feed
from trading.monitoring.alerts import clear_alerts

logger = logging.getLogger(__name__)

GOOD_FOR = timedelta(minutes=10)
KEPT_FOR = timedelta(days=30)


def link_account(
    *, owner: User, name: str, broker: str, environment: str, app_id: str, secret: str, base_url: str = ""
) -> BrokerAccount:
    """A new account at a broker, not signed in yet. Conflict ACCOUNT_EXISTS; NotAllowed for what cannot be one."""
    name, app_id, secret = name.strip(), app_id.strip(), secret.strip()
    if not name or len(name) > 60:
        raise NotAllowed("ACCOUNT_NAME", "Give the account a name of at most 60 characters.")
    if broker not in BrokerAccount.Broker.values or environment not in ("SANDBOX", "LIVE"):
        raise NotAllowed("ACCOUNT_BROKER", "Choose a broker, and whether the account is its sandbox or live.")
    if not app_id or len(app_id) > 40 or not app_id.isascii() or not secret or len(secret) > 200:
        raise NotAllowed("ACCOUNT_APP", "Give the id and the secret of the app as the broker shows them.")
    live = environment == BrokerAccount.Environment.LIVE
    if base_url and live:
        raise NotAllowed("ACCOUNT_ADDRESS", "A live account goes to its broker's own address.")
    feed = "NSE" if live else "SANDBOX"
    with transaction.atomic():
        if BrokerAccount.objects.for_user(owner).filter(name=name).exists():
            raise Conflict("ACCOUNT_EXISTS", f"You have an account named {name} already.")
        Feed.objects.get_or_create(name=feed, defaults={"kind": Feed.Kind.EXCHANGE if live else Feed.Kind.SANDBOX})
        account = BrokerAccount.objects.create(
            owner=owner, name=name, broker=broker, environment=environment, feed=feed, app_id=app_id,
            base_url=base_url, app_secret_sealed=seal(secret, owner_id=owner.pk, purpose=SECRET),
            auth_state=AuthState.NEEDS_LOGIN, auth_cause="not signed in yet",
        )  # fmt: skip
        record(
            "account.linked", actor=owner.get_username(), owner_id=owner.pk, subject=str(account),
            broker=broker, environment=environment,
        )  # fmt: skip
    return account


def login_begin(*, account: BrokerAccount, user: User, session_key: str, redirect_uri: str) -> str:
    """The address of the broker's sign-in page for this errand. One-time, for this person and this session.

    `redirect_uri`: where the person comes back to, as registered with the broker's app.
    """
    if account.is_paper:
        raise NotAllowed("PAPER_ACCOUNT", "A paper account has no sign-in: it lives on that of its price source.")
    wall = timezone.now()
    state = secrets.token_urlsafe(24)
    BrokerLogin.objects.filter(begun_at__lt=wall - KEPT_FOR).delete()
    BrokerLogin.objects.create(
        account=account, user=user, state_digest=_digest(state), session_digest=_digest(session_key), begun_at=wall,
        expires_at=wall + GOOD_FOR,
    )  # fmt: skip
    record("account.sign_in_begun", actor=user.get_username(), owner_id=account.owner_id, subject=str(account))
    return login_of(account, redirect_uri=redirect_uri).login_url(state)


def login_finish(*, user: User, session_key: str, query: str) -> BrokerAccount:
    """Take in what the broker's page sent back: check whose it is, exchange the code, prove the token, seal it.

    AuthError: LOGIN_STATE_MISMATCH for an errand that is not this person's, this session's, or not open any more;
    LOGIN_DECLINED, OTHER_PERSON. BrokerError where the broker did not answer as it should. The account then keeps the
    sign-in it had.
    """
    state = (parse_qs(query).get("state") or [""])[0]
    errand = _take(user=user, session_key=session_key, state=state)
    account = errand.account
    try:
        login = login_of(account)
        tokens = login.exchange(login.read_callback(f"?{query}", state=state))
        accept_tokens(account, tokens)
    except BrokerError as error:
        BrokerLogin.objects.filter(pk=errand.pk).update(outcome=error.code[:40])
        record(
            "account.sign_in_failed", actor=user.get_username(), owner_id=account.owner_id, subject=str(account),
            code=error.code,
        )  # fmt: skip
        raise
    BrokerLogin.objects.filter(pk=errand.pk).update(outcome=AuthState.AUTHENTICATED)
    for code in ("NEEDS_LOGIN", "LOGIN_RUNS_OUT"):
        clear_alerts(code, owner_id=account.owner_id, about=str(account.pk))
    return account


def _take(*, user: User, session_key: str, state: str) -> BrokerLogin:
    """Use the errand up. Whatever is wrong with it is told in the same words."""
    errand = (
        BrokerLogin.objects.for_user(user)
        .select_related("account__owner")
        .filter(state_digest=_digest(state), used_at=None, expires_at__gt=timezone.now())
        .first()
    )
    same_session = errand is not None and hmac.compare_digest(errand.session_digest, _digest(session_key))
    if errand is None or not same_session or errand.account.owner_id != user.pk:
        raise AuthError("LOGIN_STATE_MISMATCH", "This sign-in was not started here, or its ten minutes are over.")
    if not BrokerLogin.objects.filter(pk=errand.pk, used_at=None).update(used_at=timezone.now()):
        raise AuthError("LOGIN_STATE_MISMATCH", "This sign-in has been used already.")
    return errand


def forget_sign_in(*, account: BrokerAccount, actor: str) -> None:
    """Throw the day's token away: nothing more is sent for this account until its owner signs in again."""
    if account.is_paper:
        raise NotAllowed("PAPER_ACCOUNT", "A paper account has no sign-in: it lives on that of its price source.")
    BrokerAccount.objects.filter(pk=account.pk).update(
        access_token_sealed=None, token_expires_at=None, validated_at=None
    )
    account.access_token_sealed = account.token_expires_at = account.validated_at = None
    set_auth_state(account, AuthState.NEEDS_LOGIN, f"signed out by {actor}")


def check_sign_in(account: BrokerAccount) -> bool:
    """Ask the broker whether the token of the day still opens; True if it does. The row says the same afterwards.

    A broker that cannot be asked proves nothing, so nothing changes then.
    """
    try:
        gateway = gateway_of(account)
        try:
            gateway.profile()
        finally:
            gateway.close()
    except AuthError as error:
        set_auth_state(account, AuthState.EXPIRED, error.message)
        return False
    except BrokerError as error:
        logger.warning("the sign-in of account %s could not be checked: %s", account.pk, error.code)
        return account.auth_state == AuthState.AUTHENTICATED
    BrokerAccount.objects.filter(pk=account.pk).update(checked_at=timezone.now())
    set_auth_state(account, AuthState.AUTHENTICATED, "")
    return True


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
