"""What an engine needs before it enters anything, each with its cause: kept with its lease, shown wherever it is asked.

A gate that blocks keeps the engine in PREFLIGHT. The others are told beside it: what they say keeps entries out by the
gates of risk, order by order, and an exit needs none of it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import BrokerAccount
from execution.brokers.road import road_name
from execution.engine.clock_check import ClockState
from execution.models import Mismatch
from risk.drawdown import DrawdownStep
from risk.kill_switch import kill_state, scope_keys
from risk.loss_locks import locks_in_force
from risk.models import DrawdownState, LossLock, TradingState
from risk.policies import active_policy
from trading.marketdata.models import Feed
from trading.monitoring.models import Heartbeat
from trading.portfolio.models import Portfolio
from trading.venue.sessions import Phase, exchange_date, session_on

FRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class PreflightGate:
    """`cause` says what is so, whether it is well or not."""

    name: str
    ok: bool
    cause: str
    blocks: bool = True


def preflight(
    *, account: BrokerAccount, feed: Feed, streams: Mapping[str, str], compared: bool, clock: ClockState,
    tick_age_s: float | None, caught_up: bool, now: datetime,
) -> tuple[PreflightGate, ...]:  # fmt: skip
    """Every gate in the order in which they are waited for; `now` is venue time, ages are wall seconds.

    That the rows below are read at all is what the first of them says.
    """
    account.refresh_from_db(fields=["auth_state", "auth_cause"])
    signed_in = account.auth_state == BrokerAccount.AuthState.AUTHENTICATED
    missing = [name for name in ("orders", "prices") if streams.get(name) != "connected"]
    waits = f"waiting for the stream of {' and '.join(missing)}"
    return (
        PreflightGate("database", True, "answers"),
        PreflightGate(
            "broker", signed_in, "signed in" if signed_in else account.auth_cause or account.auth_state.lower()
        ),
        road_gate(account),
        PreflightGate("streams", not missing, waits if missing else "orders and prices are heard"),
        _reconciliation(account, compared),
        PreflightGate("clock", not clock.blocks, clock.cause or "this machine's clock is right"),
        _session(feed, now),
        _data(feed, tick_age_s, caught_up, now),
        _risk(account, now),
    )  # fmt: skip


def as_plain(gates: tuple[PreflightGate, ...]) -> list[dict[str, Any]]:
    """As it is kept with the lease."""
    return [asdict(gate) for gate in gates]


def road_gate(account: BrokerAccount) -> PreflightGate:
    """What was found when somebody last walked to the broker's hosts. Of a simulated venue nobody asks."""
    if not account.is_live:
        return PreflightGate("road", True, "a simulated venue")
    walked = Heartbeat.objects.filter(name=road_name(account.pk)).first()
    if walked is None:
        return PreflightGate("road", False, "nobody has looked at the broker's hosts yet", blocks=False)
    cause = walked.detail["cause"]
    said = cause or "names, certificates and our own address are right"
    return PreflightGate("road", not cause, said, blocks=walked.detail["blocks"])


def _reconciliation(account: BrokerAccount, compared: bool) -> PreflightGate:
    if not compared:
        return PreflightGate("reconciliation", False, "comparing with the broker")
    held_back = Mismatch.objects.filter(account=account, state__in=Mismatch.HELD_BACK).count()
    if held_back:
        said = f"{held_back} difference{'s' if held_back > 1 else ''} with the broker in quarantine"
        return PreflightGate("reconciliation", False, said, blocks=False)
    return PreflightGate("reconciliation", True, "the broker's books agree with ours")


def _phase(feed: Feed, now: datetime) -> Phase | None:
    session = session_on(exchange_date(now), assume_weekdays=feed.kind != Feed.Kind.EXCHANGE)
    return None if session is None else session.phase_at(now)


def _session(feed: Feed, now: datetime) -> PreflightGate:
    phase = _phase(feed, now)
    said = "no session today" if phase is None else phase.replace("_", " ").lower()
    return PreflightGate("session", phase is Phase.CONTINUOUS, said, blocks=False)


def _data(feed: Feed, tick_age_s: float | None, caught_up: bool, now: datetime) -> PreflightGate:
    if tick_age_s is None:
        return PreflightGate("data", False, "no price was heard yet", blocks=False)
    if _phase(feed, now) is not Phase.CONTINUOUS:
        return PreflightGate("data", True, "prices rest outside the session", blocks=False)
    if tick_age_s > FRESH_S:
        return PreflightGate("data", False, f"no price since {FRESH_S:.0f} s and more", blocks=False)
    return PreflightGate("data", caught_up, "live" if caught_up else "fetching the candles before now", blocks=False)


def _risk(account: BrokerAccount, now: datetime) -> PreflightGate:
    """What keeps every entry of one of its portfolios out. Few have anything of the kind: those are asked closer."""
    said, day = [], exchange_date(now)
    pulled = TradingState.objects.filter(level__gt=0).exists()
    halted = _portfolios(DrawdownState.objects.filter(step=DrawdownStep.HALTED), account)
    may_be_locked = _portfolios(LossLock.objects.filter(Q(session_date=day) | Q(released_at=None)), account)
    for portfolio in Portfolio.objects.filter(account=account).order_by("pk"):
        locks = (
            locks_in_force(portfolio, day=day, policy=active_policy(portfolio.pk))
            if portfolio.pk in may_be_locked else []
        )  # fmt: skip
        if pulled and kill_state(scope_keys(portfolio)).level:
            said.append(f"{portfolio.name}: the kill switch is pulled")
        elif portfolio.pk in halted:
            said.append(f"{portfolio.name}: halted after a drawdown")
        elif any(lock.kind in (LossLock.Kind.SOFT, LossLock.Kind.HARD) for lock in locks):
            said.append(f"{portfolio.name}: locked after the day's loss")
    return PreflightGate("risk", not said, "; ".join(said) or "nothing keeps entries out", blocks=False)


def _portfolios(rows: QuerySet[Any], account: BrokerAccount) -> set[int]:
    return set(rows.filter(portfolio__account=account).values_list("portfolio_id", flat=True))
