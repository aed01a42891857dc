"""The kill switch: rows that every process asks in the statement that claims an order.

A switch has a scope: the whole desk, a person, a broker account, a portfolio, a strategy or an instrument. Pulling it
raises the level and the epoch of its row. What holds for an order is the strictest level of all scopes it belongs to;
whatever was approved under an older sum of epochs dies in the queue. If the rows cannot be read nothing is claimed: it
fails closed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from django.db import transaction
from django.db.models import F, Max, Q, Sum
from django.utils import timezone

from risk.models import TradingState
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.portfolio.models import Portfolio

Level = TradingState.Level
GLOBAL = "GLOBAL"


class ScopeKind(StrEnum):
    GLOBAL = "GLOBAL"
    USER = "USER"
    ACCOUNT = "ACCOUNT"
    PORTFOLIO = "PORTFOLIO"
    STRATEGY = "STRATEGY"  # a contract in all its versions
    SYMBOL = "SYMBOL"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a switch is for. `owner_id`: of whose orders; a strategy or an instrument without one is everybody's."""

    kind: ScopeKind = ScopeKind.GLOBAL
    ref: int = 0
    owner_id: int | None = None
    label: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        if self.kind is ScopeKind.GLOBAL:
            return GLOBAL
        shared = self.kind in (ScopeKind.STRATEGY, ScopeKind.SYMBOL) and self.owner_id is not None
        return f"{self.kind}:{self.ref}:{self.owner_id}" if shared else f"{self.kind}:{self.ref}"

    @classmethod
    def read(cls, key: str, owner_id: int | None = None) -> "Scope":
        """The scope of a row. NotAllowed (KILL_SCOPE) for a key that names none."""
        kind, _, rest = key.partition(":")
        ref, _, owner = rest.partition(":")
        if key == GLOBAL:
            return DESK
        if kind == GLOBAL or kind not in set(ScopeKind) or not ref.isdecimal() or (owner and not owner.isdecimal()):
            raise NotAllowed("KILL_SCOPE", f"There is no scope {key[:60]}.")
        return cls(ScopeKind(kind), int(ref), int(owner) if owner else owner_id)


DESK = Scope(label="the whole desk")


def of_portfolio(portfolio: Portfolio) -> Scope:
    return Scope(ScopeKind.PORTFOLIO, portfolio.pk, portfolio.owner_id, portfolio.name)


def scope_keys(portfolio: Portfolio, *, instrument_id: int | None = None, strategy: str = "") -> list[str]:
    """The keys of all scopes that an order belongs to; `strategy` is its contract's id, "" for a hand."""
    owner = portfolio.owner_id
    keys = [GLOBAL, f"USER:{owner}", f"ACCOUNT:{portfolio.account_id}", f"PORTFOLIO:{portfolio.pk}"]
    if instrument_id is not None:
        keys += [f"SYMBOL:{instrument_id}", f"SYMBOL:{instrument_id}:{owner}"]
    if strategy:
        keys += [f"STRATEGY:{strategy}", f"STRATEGY:{strategy}:{owner}"]
    return keys


@dataclass(frozen=True, slots=True)
class KillState:
    """The strictest level over all scopes of an order, and the sum of their epochs."""

    level: int
    epoch: int
    reason: str


def strictest(scopes: Iterable[tuple[int, int, str] | None]) -> KillState:
    """Of the level, epoch and reason of each scope; None: nobody ever pulled that one."""
    known = [one for one in scopes if one is not None]
    level, _, reason = max(known, default=(0, 0, ""))
    return KillState(level, sum(epoch for _, epoch, _ in known), reason if level else "")


def kill_state(keys: Collection[str]) -> KillState:
    """What holds now for what belongs to these scopes."""
    rows = TradingState.objects.filter(scope__in=keys)
    sums = rows.aggregate(level=Max("level"), epoch=Sum("epoch"))
    worst = rows.order_by("-level").first()
    return KillState(sums["level"] or 0, sums["epoch"] or 0, worst.reason if worst and worst.level else "")


@transaction.atomic
def raise_level(*, scope: Scope, level: int, reason: str, actor: str) -> TradingState:
    """Raise the level of one scope, never lower it, and void what was approved before."""
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say why the kill switch is pulled.")
    if level not in Level.values or level == Level.ACTIVE:
        raise NotAllowed("KILL_LEVEL", f"There is no level {level} to pull.")
    _row_of(scope)
    TradingState.objects.filter(scope=scope.key).update(
        epoch=F("epoch") + 1, reason=reason.strip()[:200], set_by=actor, set_at=timezone.now()
    )
    TradingState.objects.filter(Q(scope=scope.key) & Q(level__lt=level)).update(level=level)
    state = TradingState.objects.get(scope=scope.key)
    record(
        "kill_switch.pulled", actor=actor, owner_id=scope.owner_id, subject=scope.key, level=state.level,
        epoch=state.epoch, reason=state.reason,
    )  # fmt: skip
    return state


@transaction.atomic
def rearm(*, scope: Scope, reason: str, actor: str) -> TradingState:
    """Back to ACTIVE. What died stays dead: the epoch goes on."""
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say why trading may go on.")
    _row_of(scope)
    TradingState.objects.filter(scope=scope.key).update(
        level=Level.ACTIVE, epoch=F("epoch") + 1, reason=reason.strip()[:200], set_by=actor, set_at=timezone.now()
    )
    state = TradingState.objects.get(scope=scope.key)
    record(
        "kill_switch.rearmed", actor=actor, owner_id=scope.owner_id, subject=scope.key, epoch=state.epoch,
        reason=state.reason,
    )  # fmt: skip
    return state


def _row_of(scope: Scope) -> None:
    portfolio_id = scope.ref if scope.kind is ScopeKind.PORTFOLIO else None
    TradingState.objects.get_or_create(
        scope=scope.key,
        defaults={"portfolio_id": portfolio_id, "owner_id": scope.owner_id, "label": scope.label[:120]},
    )
    if scope.label:
        TradingState.objects.filter(scope=scope.key).exclude(label=scope.label[:120]).update(label=scope.label[:120])
