"""A signal becomes an intent, or is refused and says why."""

from datetime import datetime, time
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.kill_scopes import strategy_of
from execution.models import Group, Intent
from execution.services.intent_create import Wish, intent_create
from risk.drawdown import DrawdownStep, tightened_stop
from risk.sizing import percent_equity, risk_per_trade
from risk.snapshot import Standing, standing_of
from strategies.models import Deployment, Signal
from strategies.scanner.scan_bar import compile_deployment
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import Frozen, Select, run
from trading.venue.sessions import exchange_date

State = Signal.State
# How far beyond the deciding close an entry may reach, so that it trades on a moving market and still has a limit.
ENTRY_REACH = 0.001
LOCKED = Select(
    Signal, "portfolio__account", "instrument", "deployment__version__contract",
    where="WHERE t.id = %(signal)s::uuid FOR UPDATE OF t",
)  # fmt: skip

AT_WORK = Frozen(lambda deployment: Deployment.objects.at_work().filter(pk=deployment).values_list("pk"))
DECIDE = """
UPDATE strategies_signal SET state = %(state)s, refusal_code = %(code)s, refusal = %(message)s
WHERE id = %(signal)s AND state = 'NEW' RETURNING 1
"""


@transaction.atomic
def signal_accept(*, signal_id, now: datetime) -> Signal:
    """Size a signal and hand it to risk. Repeats find it decided and change nothing. `now` is venue time.

    The signal is locked, and its fate is stored with its intent: no crash can leave an order whose signal says no.
    """
    signal = LOCKED.get({"signal": signal_id})
    if signal.state != State.NEW:
        return signal
    crashpoint("intake.signal_locked")
    portfolio = signal.portfolio
    age_s = (timezone.now() - signal.created_at).total_seconds()
    if timezone.now() > signal.expires_at:
        return _decide(signal, State.EXPIRED, "SIGNAL_AGE", f"Not taken up within {age_s:.0f} s.")
    if not AT_WORK.rows(signal.deployment_id):
        return _decide(signal, State.REFUSED, "DEPLOYMENT_PAUSED", "Its deployment is paused.")
    full = _over_its_own_limits(signal, now)
    if full is not None:
        return _decide(signal, State.REFUSED, *full)
    side = Side(signal.side)
    tick = signal.instrument.tick_size
    reach = float(signal.entry) * ENTRY_REACH
    # Rounding away from the market would leave the order short of the price it is meant to reach.
    limit = to_tick(float(signal.entry) + side.sign * reach, tick=tick, side=side)
    standing = standing_of(portfolio, signal.instrument, now=now, strategy=strategy_of(signal))
    quantity = wanted_quantity(signal, standing=standing, limit=limit)
    if quantity < 1:
        return _decide(signal, State.REFUSED, "TOO_SMALL", "The risk budget does not pay for one unit.")
    wish = Wish(
        source=Intent.Source.SIGNAL,
        reason=Reason.ENTRY,
        dedupe_key=f"signal:{signal.pk}",
        actor=str(signal.deployment.version),
        instrument=signal.instrument,
        side=side,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        product=Product(signal.deployment.version.body.get("product", Product.INTRADAY)),
        limit_price=limit,
        stop_price=_protected(signal, standing, limit),
        target_price=signal.target,
        signal=signal,
        signal_age_s=age_s,
        needs_approval=portfolio.approval_mode == Portfolio.ApprovalMode.MANUAL,
    )
    try:
        intent = intent_create(portfolio=portfolio, wish=wish, now=now, standing=standing)
    except TradingError as error:
        return _decide(signal, State.REFUSED, error.code, error.message)
    if intent.state == Intent.State.REFUSED:
        return _decide(signal, State.REFUSED, intent.refusal_code, intent.refusal)
    return _decide(signal, State.ACCEPTED, "", "")


def _over_its_own_limits(signal: Signal, now: datetime) -> tuple[str, str] | None:
    """Code and sentence where the contract itself allows no more positions or trades; None: there is room.

    Signals of one deployment are decided one after the other, so that two cannot take the last place.
    """
    limits = compile_deployment(signal.deployment).body.risk
    if limits.max_positions is None and limits.max_trades_per_day is None:
        return None
    Deployment.objects.select_for_update(of=("self",)).get(pk=signal.deployment_id)
    taken = Signal.objects.filter(deployment=signal.deployment_id, state=State.ACCEPTED)
    if limits.max_positions is not None:
        held = Group.objects.filter(signal__in=taken).exclude(state=Group.State.CLOSED).count()
        if held >= limits.max_positions:
            return "CONTRACT_POSITIONS", f"Its contract allows {limits.max_positions} positions, and {held} are open."
    if limits.max_trades_per_day is not None:
        today = datetime.combine(exchange_date(now), time(), tzinfo=IST)
        made = taken.filter(bar_at__gte=today).count()
        if made >= limits.max_trades_per_day:
            return "CONTRACT_TRADES", f"Its contract allows {limits.max_trades_per_day} trades a day: {made} were made."
    return None


def _protected(signal: Signal, standing: Standing, limit: Decimal) -> Decimal:
    """The stop of the signal; nearer to the entry while the portfolio is on the defensive. The size is that of the
    stop it had: a nearer one is to lose less, not to buy more."""
    side = Side(signal.side)
    stop = tightened_stop(
        DrawdownStep(standing.drawdown[0]), entry=limit, stop=signal.stop,
        share_pct=standing.policy.defensive_stop_pct,
    )  # fmt: skip
    return signal.stop if stop == signal.stop else to_tick(stop, tick=signal.instrument.tick_size, side=side)


def wanted_quantity(signal: Signal, *, standing: Standing, limit: Decimal) -> int:
    """Units the contract asks for, in whole lots, before the gates."""
    sizing = compile_deployment(signal.deployment).body.sizing
    if sizing.kind == "fixed_quantity":
        units = int(sizing.value)
    elif sizing.kind == "percent_equity":
        units = percent_equity(equity_paise=standing.equity_paise, share_pct=sizing.value, entry=limit)
    else:
        share = min(sizing.value, standing.policy.risk_per_trade_pct)
        units = risk_per_trade(equity_paise=standing.equity_paise, risk_pct=share, entry=limit, stop=signal.stop)
    units = units * signal.deployment.allocation_pct // 100
    return signal.instrument.spec.whole_lots(units)


def _decide(signal: Signal, state: str, code: str, message: str) -> Signal:
    if run(DECIDE, {"signal": signal.pk, "state": str(state), "code": code[:40], "message": message[:240]}):
        publish(signal.portfolio.owner_id, "signal", signal=str(signal.pk), state=state)
        signal.state, signal.refusal_code, signal.refusal = state, code[:40], message[:240]
    else:
        signal.refresh_from_db(fields=["state", "refusal_code", "refusal"])
    return signal
