"""What belongs to the scope of a kill switch: which scopes an order has, and which orders and trades a scope has."""

from django.db.models import Q

from execution.models import Group, Order
from execution.models.order import OrderQuerySet
from risk.kill_switch import Scope, ScopeKind, scope_keys
from strategies.models import Signal
from trading.portfolio.models import Portfolio

_OF = {
    ScopeKind.USER: ("portfolio__owner", "portfolio__owner"),
    ScopeKind.ACCOUNT: ("account", "portfolio__account"),
    ScopeKind.PORTFOLIO: ("portfolio", "portfolio"),
    ScopeKind.SYMBOL: ("instrument", "instrument"),
    ScopeKind.STRATEGY: (
        "group__signal__deployment__version__contract", "signal__deployment__version__contract",
    ),
}  # fmt: skip


def strategy_of(signal: Signal | None) -> str:
    """Whose idea it is, as limits and the kill switch know it: its contract, whichever the version. "": a hand."""
    return str(signal.deployment.version.contract_id) if signal and signal.deployment else ""


def keys_of(portfolio: Portfolio, instrument_id: int, signal: Signal | None) -> list[str]:
    """The keys of all scopes of an order or an intent."""
    return scope_keys(portfolio, instrument_id=instrument_id, strategy=strategy_of(signal))


def live_orders_in(scope: Scope) -> OrderQuerySet:
    return Order.objects.live().filter(_within(scope, 0))


def open_groups_in(scope: Scope):
    return Group.objects.exclude(state=Group.State.CLOSED).filter(_within(scope, 1))


def portfolios_in(scope: Scope):
    """Portfolios that may have something in the scope."""
    rows = Portfolio.objects.select_related("account").order_by("pk")
    if scope.kind is ScopeKind.PORTFOLIO:
        return rows.filter(pk=scope.ref)
    if scope.kind is ScopeKind.ACCOUNT:
        return rows.filter(account_id=scope.ref)
    if scope.kind is ScopeKind.USER:
        return rows.filter(owner_id=scope.ref)
    return rows.filter(owner_id=scope.owner_id) if scope.owner_id is not None else rows


def _within(scope: Scope, place: int) -> Q:
    if scope.kind is ScopeKind.GLOBAL:
        return Q()
    within = Q(**{_OF[scope.kind][place]: scope.ref})
    return within if scope.owner_id is None else within & Q(portfolio__owner=scope.owner_id)
