"""What a pulled kill switch has brought about, counted from the rows: what is done, and what is left to do."""

from dataclasses import dataclass

from execution.kill_scopes import live_orders_in, open_groups_in, portfolios_in
from execution.models import Group, Mismatch
from execution.states import OrderState, PendingOp
from risk.kill_switch import Scope, ScopeKind
from risk.models import TradingState
from trading.marketdata.models import Instrument
from trading.monitoring.models import Heartbeat
from trading.portfolio.models import Position

Level = TradingState.Level


@dataclass(frozen=True, slots=True)
class KillStep:
    words: str
    done: bool
    left: str


@dataclass(frozen=True, slots=True)
class KillReport:
    """`residue` names what still lives or is held; empty when the broker's books have said that nothing is."""

    scope: str
    level: int
    steps: tuple[KillStep, ...]
    residue: tuple[str, ...]

    @property
    def done(self) -> bool:
        return all(step.done for step in self.steps)


def kill_report(scope: Scope, *, level: int | None = None) -> KillReport:
    """Of a scope's own switch; or, with a `level`, of what a wider one did to it."""
    if level is None:
        state = TradingState.objects.filter(scope=scope.key).first()
        level = state.level if state else Level.ACTIVE
    live = live_orders_in(scope).select_related("instrument").order_by("pk")
    doomed = live.filter(reason="ENTRY") if level == Level.CANCEL_ENTRIES else live.exclude(reason="STOP")
    unsent = [OrderState.QUEUED, OrderState.SENDING]
    waiting = doomed.filter(state__in=unsent).count()
    resting = doomed.exclude(state__in=unsent)
    asked = resting.exclude(pending_op=PendingOp.NONE).count()
    unknown = live.filter(state=OrderState.UNKNOWN).count()
    groups = list(open_groups_in(scope).select_related("instrument", "portfolio"))
    held = [group for group in groups if held_by(group)]
    steps = [KillStep("Entries are blocked", level >= Level.NO_ENTRIES, "")]
    if level == Level.FLATTEN:
        # Closing orders are live until the position is flat: what counts then is what is held.
        steps.append(KillStep("Positions are closed", not held, f"{len(held)} left"))
        steps.append(KillStep("No order is live", not live.exists(), f"{live.count()} left"))
    elif level >= Level.CANCEL_ENTRIES:
        steps.append(KillStep("Queued orders are withdrawn", not waiting, f"{waiting} left"))
        left = f"{resting.count()} left, {asked} asked"
        steps.append(KillStep("Resting orders are cancelled", not resting.exists(), left))
    steps.append(KillStep("The broker’s book agrees", not unknown, f"{unknown} unknown: asking the broker"))
    residue: list[str] = []
    if level == Level.FLATTEN:
        residue += [f"{held_by(group):+d} {group.instrument.ticker} in {group.portfolio}" for group in held]
    if level >= Level.CANCEL_ENTRIES:
        rows = live if level == Level.FLATTEN else doomed
        residue += [f"{one.side} {one.remaining_quantity} {one.instrument.ticker}: {one.state}" for one in rows[:50]]
    return KillReport(scope.key, level, tuple(steps), tuple(residue))


def held_by(group: Group) -> int:
    """Units of the trade's position, signed; what the position itself says."""
    row = Position.objects.filter(
        portfolio=group.portfolio_id, instrument=group.instrument_id, product=group.product
    ).values_list("net_quantity", flat=True)
    return row.first() or 0


def unclean(scope: Scope) -> list[str]:
    """In words, what speaks against letting a scope trade again: doubt about orders, trades, or the broker's books."""
    causes = []
    unknown = live_orders_in(scope).filter(state__in=[OrderState.UNKNOWN, OrderState.SENDING]).count()
    if unknown:
        causes.append(f"{unknown} orders of unknown fate")
    quarantined = open_groups_in(scope).filter(quarantined=True).count()
    if quarantined:
        causes.append(f"{quarantined} trades in quarantine")
    owned = portfolios_in(scope).values("account")
    doubts = Mismatch.objects.filter(account__in=owned, state__in=Mismatch.HELD_BACK)
    if scope.kind is ScopeKind.SYMBOL:
        doubts = doubts.filter(symbol__in=Instrument.objects.filter(pk=scope.ref).values("symbol"))
    if doubts.exists():
        causes.append(f"{doubts.count()} differences from the broker's books")
    state = TradingState.objects.filter(scope=scope.key).first()
    if state is not None and state.level == Level.FLATTEN:
        under_way = open_groups_in(scope).exclude(close_reason="").count()
        if under_way:
            causes.append(f"{under_way} trades still being closed")
    if state is not None and state.level and state.set_at is not None:
        accounts = set(live_orders_in(scope).values_list("account_id", flat=True))
        accounts |= set(open_groups_in(scope).values_list("portfolio__account_id", flat=True))
        for account_id in sorted(accounts):
            books = Heartbeat.objects.filter(name=f"books:{account_id}").first()
            if books is None or books.at < state.set_at:
                causes.append(f"the broker's books of account {account_id} were not read since")
    return causes
