"""Which switches a person may pull: their own portfolios, accounts, strategies and instruments; operators any."""

from typing import Any

from accounts.models import BrokerAccount, User
from execution.models import Group
from risk.kill_switch import DESK, Scope, ScopeKind, of_portfolio
from strategies.models import Deployment, StrategyContract
from trading.domain.errors import NotFound
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio


def choices_for(user: Any) -> list[Scope]:
    """Everything this person has that could be stopped by itself, widest last."""
    portfolios = list(Portfolio.objects.for_user(user).select_related("account").order_by("pk"))
    deployed = Deployment.objects.for_user(user).exclude(state=Deployment.State.RETIRED)
    contracts = StrategyContract.objects.filter(pk__in=deployed.values("version__contract")).order_by("name")
    traded = Group.objects.for_user(user).exclude(state=Group.State.CLOSED).values("instrument")
    instruments = Instrument.objects.filter(pk__in=traded).order_by("symbol")
    accounts = {one.account_id: one.account for one in portfolios}.values()
    return [
        *(of_portfolio(one) for one in portfolios),
        *(Scope(ScopeKind.STRATEGY, one.pk, user.pk, f"strategy {one.name}") for one in contracts),
        *(Scope(ScopeKind.SYMBOL, one.pk, user.pk, one.ticker) for one in instruments),
        *(Scope(ScopeKind.ACCOUNT, one.pk, user.pk, f"broker account {one.name}") for one in accounts),
        Scope(ScopeKind.USER, user.pk, user.pk, "all that is mine"),
    ]


def scope_for(user: Any, key: str) -> Scope:
    """The scope a person named by its key; an operator any. NotFound: not theirs, or not there. NotAllowed: no key."""
    if user.is_staff:
        return any_scope(key)
    scope = Scope.read(key, user.pk)
    mine = scope.owner_id == user.pk and scope.kind is not ScopeKind.GLOBAL
    rows: dict[ScopeKind, Any] = {
        ScopeKind.PORTFOLIO: Portfolio.objects.for_user(user), ScopeKind.ACCOUNT: BrokerAccount.objects.for_user(user),
        ScopeKind.STRATEGY: StrategyContract.objects.for_user(user), ScopeKind.SYMBOL: Instrument.objects.all(),
        ScopeKind.USER: User.objects.filter(pk=user.pk),
    }  # fmt: skip
    row = rows[scope.kind].filter(pk=scope.ref).first() if mine else None
    if row is None:
        raise NotFound("UNKNOWN_SCOPE", "There is no such thing to stop.")
    return Scope(scope.kind, scope.ref, user.pk, _words(scope.kind, row))


def any_scope(key: str) -> Scope:
    """The scope an operator named; strategies and instruments then are everybody's. NotFound: there is no such row."""
    scope = Scope.read(key)
    if scope.kind is ScopeKind.GLOBAL:
        return DESK
    rows: dict[ScopeKind, Any] = {
        ScopeKind.PORTFOLIO: Portfolio.objects.all(), ScopeKind.ACCOUNT: BrokerAccount.objects.all(),
        ScopeKind.STRATEGY: StrategyContract.objects.all(), ScopeKind.SYMBOL: Instrument.objects.all(),
        ScopeKind.USER: User.objects.all(),
    }  # fmt: skip
    row = rows[scope.kind].filter(pk=scope.ref).first()
    if row is None:
        raise NotFound("UNKNOWN_SCOPE", "There is no such thing to stop.")
    owner = {ScopeKind.PORTFOLIO: "owner_id", ScopeKind.ACCOUNT: "owner_id", ScopeKind.USER: "pk"}.get(scope.kind)
    owner_id = getattr(row, owner) if owner else scope.owner_id
    return Scope(scope.kind, scope.ref, owner_id, _words(scope.kind, row))


def _words(kind: ScopeKind, row: Any) -> str:
    if kind is ScopeKind.SYMBOL:
        return row.ticker
    if kind is ScopeKind.USER:
        return f"all of {row.get_username()}"
    before = {ScopeKind.STRATEGY: "strategy ", ScopeKind.ACCOUNT: "broker account "}.get(kind, "")
    return f"{before}{row.name}"
