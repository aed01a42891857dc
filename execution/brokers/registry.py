"""From an account's row to somebody who can speak to its broker."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import seal, unseal
from execution.brokers.dialect import Dialect, Hearers, Login, Place, Prices, Socket
from execution.brokers.errors import AuthError
from execution.brokers.fyers.dialect import Fyers
from execution.brokers.guard import BrokerGuard, StreamGuard
from execution.brokers.kite.dialect import Kite
from execution.brokers.paper.gateway import PaperGateway
from execution.brokers.paper.sockets import PaperOrderSocket, matching
from execution.brokers.paper.source import ASK_EVERY_S, PriceSource
from execution.brokers.port import BrokerGateway, CallClass, Tick, Tokens
from execution.brokers.socket_loop import OnState, Pace
from execution.order_charges import charge_broker
from risk.order_rate import wait_for_turn
from trading.audit.record import record
from trading.marketdata.clocks import venue_now
from trading.monitoring.alerts import Level, raise_alert

AuthState = BrokerAccount.AuthState
Broker = BrokerAccount.Broker
DIALECTS: dict[str, Dialect] = {Broker.FYERS: Fyers(), Broker.ZERODHA: Kite()}
RATE_CLASS = {
    CallClass.ORDER: "order", CallClass.EXIT: "exit", CallClass.CANCEL: "exit", CallClass.READ: "read",
    CallClass.DATA: "read",
}  # fmt: skip
SECRET, TOKEN = "app_secret", "access_token"


def dialect_of(account: BrokerAccount) -> Dialect:
    return DIALECTS[account.broker]


def place_of(account: BrokerAccount) -> Place:
    """Where this account's broker lives: a sandbox by its address, the real one by its own hosts. Of a paper account
    that is where its prices come from."""
    account = account.source
    if account.is_live:
        return Place(None, redirect_uri=settings.BROKER_REDIRECT_URI)
    url = sandbox_url(account)
    return Place(url, redirect_uri=settings.BROKER_REDIRECT_URI or f"{url}/callback")


def sandbox_url(account: BrokerAccount) -> str:
    """The address of a sandbox account: its own, or that of the desk's sandbox."""
    return account.source.base_url or settings.SANDBOX_URL


def control_url_of(account: BrokerAccount) -> str:
    """The switches of the simulated venue behind a sandbox account."""
    return f"{sandbox_url(account).rstrip('/')}/sandbox"


def token_of(account: BrokerAccount) -> str:
    """The token of the day. AuthError (NOT_SIGNED_IN) where there is none that still lives."""
    account = account.source
    expired = account.token_expires_at is None or account.token_expires_at <= timezone.now()
    if account.access_token_sealed is None or expired:
        raise AuthError("NOT_SIGNED_IN", f"{account.name} is not signed in.")
    return unseal(account.access_token_sealed, owner_id=account.owner_id, purpose=TOKEN)


def gateway_of(account: BrokerAccount, *, paced: bool = True) -> BrokerGateway:
    """A gateway with its own warm connection. Calls wait for their turn in the account's shared rate.

    Not `paced`: for a venue that is the caller's alone, as in a replay.
    """

    if account.is_paper:
        return paper_gateway_of(account, paced=paced)

    def before_call(klass: str) -> None:
        if not CallClass(klass).has_its_turn:
            wait_for_turn(account.pk, RATE_CLASS[CallClass(klass)])

    return dialect_of(account).gateway(
        place_of(account), app_id=account.app_id, token=token_of(account),
        before_call=before_call if paced else None, guard=BrokerGuard(account.pk) if paced else None,
    )  # fmt: skip


def paper_gateway_of(
    account: BrokerAccount, *, paced: bool = True, now: Callable[[], datetime] | None = None,
    ask_every_s: float = ASK_EVERY_S,
) -> PaperGateway:  # fmt: skip
    """The book of a paper account. Its prices are asked for at the pace of the account that they come from."""
    feed = account.feed
    return PaperGateway(
        account_id=account.pk, name=account.name, feed=feed, now=now or (lambda: venue_now(feed)),
        source=PriceSource(lambda: _fresh_source(account, paced=paced), ask_every_s=ask_every_s),
        charge_broker=charge_broker(account), simulated=not account.has_market_prices,
    )  # fmt: skip


def bring_to_present(account: BrokerAccount) -> bool:
    """Do to a paper book what every question does to it: match it with the prices of now, end a session that is over.
    AuthError where its source is not signed in."""
    gateway = gateway_of(account)
    try:
        gateway.orders()
    finally:
        gateway.close()
    return True


def _fresh_source(account: BrokerAccount, *, paced: bool) -> BrokerGateway:
    """By its row as it is now: the token of the day may be newer than whoever asked for the gateway."""
    assert account.price_source_id is not None  # a constraint of the table
    return gateway_of(BrokerAccount.objects.get(pk=account.price_source_id), paced=paced)


def order_socket_of(account: BrokerAccount, *, gateway: BrokerGateway, hearers: Hearers, pace: Pace) -> Socket:
    """The stream of an account's orders and fills. `gateway` is one of the same account."""
    if account.is_paper:
        return PaperOrderSocket(account_id=account.pk, hearers=hearers)
    return dialect_of(account).order_socket(
        place_of(account), app_id=account.app_id, token=token_of(account), gateway=gateway, hearers=hearers, pace=pace,
        guard=StreamGuard(account.pk),
    )  # fmt: skip


def price_socket_of(
    account: BrokerAccount,
    *,
    gateway: BrokerGateway,
    on_ticks: Callable[[list[Tick]], None],
    on_state: OnState,
    on_refused: Callable[[list[str]], None] = lambda symbols: None,
    symbols: Iterable[str],
    pace: Pace,
) -> Prices:
    """The stream of prices that an account's broker offers."""
    if isinstance(gateway, PaperGateway):
        return price_socket_of(
            account.source, gateway=gateway.prices.connection, on_ticks=matching(gateway, on_ticks),
            on_state=on_state, on_refused=on_refused, symbols=symbols, pace=pace,
        )  # fmt: skip
    return dialect_of(account).price_socket(
        place_of(account), app_id=account.app_id, token=token_of(account), gateway=gateway, on_ticks=on_ticks,
        on_state=on_state, on_refused=on_refused, symbols=symbols, pace=pace, guard=StreamGuard(account.pk),
    )  # fmt: skip


def app_secret_of(account: BrokerAccount) -> str:
    assert account.app_secret_sealed is not None  # a paper account, and it alone, has none
    return unseal(account.app_secret_sealed, owner_id=account.owner_id, purpose=SECRET)


def login_of(account: BrokerAccount, *, redirect_uri: str = "") -> Login:
    """The two steps of signing in with a person, who is sent back to `redirect_uri`."""
    place = place_of(account)
    if redirect_uri:
        place = replace(place, redirect_uri=redirect_uri)
    return dialect_of(account).login(place, app_id=account.app_id, secret=app_secret_of(account))


def sign_in(account: BrokerAccount) -> BrokerAccount:
    """Sign a sandbox account in without a person. A live account needs its owner: AuthError (NEEDS_LOGIN).

    A paper account is signed in as long as the source of its prices is.
    """
    if account.is_paper:
        try:
            sign_in(account.source)
        except AuthError as error:
            set_auth_state(
                account, AuthState.NEEDS_LOGIN, f"{account.source.name}, whose prices it lives on, is not signed in"
            )
            raise AuthError(error.code, error.message) from error
        set_auth_state(account, AuthState.AUTHENTICATED, "")
        return account
    place = place_of(account)
    if account.is_live or not dialect_of(account).is_loopback(place):
        set_auth_state(account, AuthState.NEEDS_LOGIN, "the owner has to sign in at the broker")
        raise AuthError("NEEDS_LOGIN", f"{account.name}: its owner has to sign in at the broker.")
    secret = app_secret_of(account)
    tokens = dialect_of(account).sign_in_sandbox(place, app_id=account.app_id, secret=secret)
    return accept_tokens(account, tokens)


def accept_tokens(account: BrokerAccount, tokens: Tokens) -> BrokerAccount:
    """Validate new tokens against the broker's profile before the account counts as signed in, then seal them."""
    profile = login_of(account).whose(tokens)
    if account.broker_user_id and profile.user_id != account.broker_user_id:
        raise AuthError("OTHER_PERSON", f"This sign-in belongs to another client than {account.name} does.")
    refuse_a_second(account, profile.user_id)
    account.access_token_sealed = seal(tokens.access_token, owner_id=account.owner_id, purpose=TOKEN)
    account.token_expires_at = tokens.expires_at
    account.broker_user_id = profile.user_id
    account.validated_at = account.checked_at = timezone.now()
    fields = ["access_token_sealed", "token_expires_at", "broker_user_id", "validated_at", "checked_at"]
    account.save(update_fields=fields)
    set_auth_state(account, AuthState.AUTHENTICATED, "")
    return account


def refuse_a_second(account: BrokerAccount, user_id: str) -> None:
    """One live account for each client of a broker: two would spend twice the rate that it allows, and each would take
    the other's orders for a stranger's. AuthError (ALREADY_LINKED)."""
    if not account.is_live:
        return
    same = BrokerAccount.objects.filter(
        broker=account.broker, environment=BrokerAccount.Environment.LIVE, broker_user_id=user_id
    ).exclude(pk=account.pk)  # fmt: skip
    if same.exists():
        raise AuthError("ALREADY_LINKED", "This client of the broker is linked to the desk by another account.")


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
