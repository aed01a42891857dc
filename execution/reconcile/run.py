"""One reconciliation: read the books until they can be believed, take over what is missing, hold back the rest."""

from collections import Counter
from datetime import datetime, time

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.errors import BrokerError
from execution.brokers.port import BrokerGateway
from execution.engine.books import apply_books, known_today
from execution.engine.funds import keep_funds
from execution.models import Fill, Mismatch, Order, OrderEvent, ReconRun
from execution.order_charges import HANDED_ON
from execution.reconcile.compare import Difference, Key, Ours, compare
from execution.reconcile.heal import mismatches_note
from execution.reconcile.money import BALANCE, Flow, Reading, compare_money, counts_profit
from execution.reconcile.snapshot import NotBelievable, Snapshot, take_snapshot
from risk.funds import room_taken
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.money import to_paise
from trading.domain.orders import Product, Side
from trading.monitoring.alerts import clear_alerts, raise_alert
from trading.venue.sessions import exchange_date

Outcome = ReconRun.Outcome
KEPT_EVENTS = ("order.seen", "order.filled", "order.adopted", "order.changed_outside")


def reconcile(*, account: BrokerAccount, gateway: BrokerGateway, now: datetime, cause: str) -> ReconRun:
    """Compare an account with its broker and store what came of it. Sends nothing. `now` is venue time.

    Books that cannot be read or believed change nothing and are stored as INVALID. Where both sides agree already, all
    that is written is the row of the run itself.
    """
    began_at, taken = timezone.now(), room_taken(account.pk)
    delivered = _delivered(account, now)
    try:
        snapshot = take_snapshot(gateway, known=known_today(account.pk, now), deliveries=bool(delivered))
    except (BrokerError, NotBelievable) as error:
        return _invalid(account, cause, f"{error.code}: {error.message}", now, began_at)
    crashpoint("recon.snapshot_taken")
    newest = _newest_event(account)
    apply_books(account=account, trades=list(snapshot.trades), orders=list(snapshot.orders),
                asked_at=snapshot.asked_at, now=now)  # fmt: skip
    taken_over = [
        f"order {event.order_id}: {event.kind}"
        for event in OrderEvent.objects.filter(order__account=account, pk__gt=newest, kind__in=KEPT_EVENTS)
    ]
    ours = _our_side(account, now, delivered)
    found = compare(
        ours, orders=snapshot.orders, trades=snapshot.trades, positions=snapshot.positions, holdings=snapshot.holdings
    )
    found += _money(account, snapshot, ours, taken, now)
    crashpoint("recon.compared")
    actions = taken_over + mismatches_note(account=account, found=found, now=now)
    crashpoint("recon.healed")
    run = _store(account, cause, snapshot, [one.as_dict() for one in found], actions, bool(taken_over), now, began_at)
    crashpoint("recon.stored")
    return run


def _delivered(account: BrokerAccount, now: datetime) -> dict[str, int]:
    """By symbol: shares of earlier days' deliveries that no earlier day sold."""
    midnight = datetime.combine(exchange_date(now), time(), IST)
    rows = Fill.objects.filter(
        order__account=account, bust=None, order__product=Product.CNC, filled_at__lt=midnight
    ).values_list("order__instrument__symbol", "order__side").annotate(units=Sum("quantity")).order_by()  # fmt: skip
    net: Counter[str] = Counter()
    for symbol, side, units in rows:
        net[symbol] += Side(side).sign * units
    return {symbol: units for symbol, units in net.items() if units > 0}


def _our_side(account: BrokerAccount, now: datetime, delivered: dict[str, int]) -> Ours:
    """What our rows say the broker should have: today's, and of products that are carried over night everything."""
    net: Counter[Key] = Counter()
    fills: dict[tuple[str, str], tuple[int, Key]] = {}
    today = exchange_date(now)
    midnight = datetime.combine(today, time(), IST)
    rows = Fill.objects.filter(
        Q(filled_at__gte=midnight) | Q(order__product=Product.MARGIN), order__account=account, bust=None
    ).select_related("order__instrument")  # fmt: skip
    for fill in rows:
        order = fill.order
        key = (order.instrument.symbol, order.product)
        signed = Side(order.side).sign * fill.quantity
        is_todays = exchange_date(fill.filled_at) == today
        if is_todays and fill.source == HANDED_ON:
            continue  # the whole of it is in the order that it is a part of
        if is_todays or order.product == Product.MARGIN:
            net[key] += signed
        if is_todays and order.broker_order_id and not fill.synthetic:
            fills[order.broker_order_id, fill.broker_trade_id] = (signed, key)
    order_ids = Order.objects.filter(account=account, broker_order_id__isnull=False)
    accepted: Counter[Key] = Counter()
    for row in Mismatch.objects.filter(
        account=account, kind=Mismatch.Kind.POSITION, state=Mismatch.State.ACCEPTED, session_date=today
    ):  # fmt: skip
        accepted[row.symbol, row.product] += row.difference
    numbers = {number for number in order_ids.values_list("broker_order_id", flat=True) if number}
    strangers = Mismatch.objects.filter(
        account=account, kind=Mismatch.Kind.UNKNOWN_TAG, state=Mismatch.State.ACCEPTED, session_date=today
    )
    return Ours(net, numbers, fills, accepted, delivered, set(strangers.values_list("reference", flat=True)))


def _money(account: BrokerAccount, snapshot: Snapshot, ours: Ours, taken_paise: int, now: datetime) -> list[Difference]:
    """Keep the funds that were read, and hold them against the trades."""
    row = keep_funds(
        account=account, funds=snapshot.funds, taken_paise=taken_paise, asked_at=snapshot.asked_at, now=now
    )  # fmt: skip
    first = Reading(row.first_total_paise, row.first_realised_paise)
    last = Reading(to_paise(snapshot.funds.total), to_paise(snapshot.funds.realised))
    accepted = _money_accepted(account, now)
    if row.profit_in_total is None:
        row.profit_in_total = counts_profit(first=first, last=last, explained=accepted[BALANCE])
        if row.profit_in_total is not None:
            row.save(update_fields=["profit_in_total"])
    return compare_money(
        first=first, last=last, flows=_flows(account, snapshot, ours, now), accepted=accepted,
        profit_in_total=row.profit_in_total,
    )  # fmt: skip


def _flows(account: BrokerAccount, snapshot: Snapshot, ours: Ours, now: datetime) -> list[Flow]:
    """The day's trades: ours as they were booked, and those of orders that are not ours as the broker tells them."""
    today = exchange_date(now)
    flows = [
        Flow((fill.order.instrument.symbol, fill.order.product), Side(fill.order.side).sign * fill.quantity,
             fill.value_paise)
        for fill in Fill.objects.filter(
            order__account=account, bust=None, filled_at__gte=datetime.combine(today, time(), IST)
        ).exclude(source__in=["USER", HANDED_ON]).select_related("order__instrument")  # the broker knows them otherwise
    ]  # fmt: skip
    products = {order.broker_order_id: order.product for order in snapshot.orders}
    flows += [
        Flow((fact.symbol, products.get(fact.broker_order_id, "")), fact.side.sign * fact.quantity,
             to_paise(fact.price * fact.quantity))
        for fact in snapshot.trades
        if fact.broker_order_id not in ours.order_ids
    ]  # fmt: skip
    return flows


def _money_accepted(account: BrokerAccount, now: datetime) -> Counter[str]:
    accepted: Counter[str] = Counter()
    for row in Mismatch.objects.filter(
        account=account, kind=Mismatch.Kind.FUNDS, state=Mismatch.State.ACCEPTED, session_date=exchange_date(now)
    ):  # fmt: skip
        accepted[row.reference] += row.difference
    return accepted


def _newest_event(account: BrokerAccount) -> int:
    return OrderEvent.objects.filter(order__account=account).order_by("-pk").values_list("pk", flat=True).first() or 0


@transaction.atomic
def _store(
    account: BrokerAccount, cause: str, snapshot: Snapshot, differences: list[dict[str, object]], actions: list[str],
    healed: bool, now: datetime, began_at: datetime,
) -> ReconRun:  # fmt: skip
    held_back = Mismatch.objects.filter(account=account, state__in=Mismatch.HELD_BACK).exists()
    if held_back:
        outcome = Outcome.QUARANTINED
    elif differences:
        outcome = Outcome.WAITING
    else:
        outcome = Outcome.HEALED if healed else Outcome.CLEAN
    clear_alerts("RECON_INVALID", owner_id=account.owner_id, about=str(account.pk))
    return ReconRun.objects.create(
        account=account, cause=cause, outcome=outcome, inputs_hash=snapshot.inputs_hash, orders=len(snapshot.orders),
        trades=len(snapshot.trades), positions=len(snapshot.positions), differences=differences, actions=actions,
        venue_at=now, began_at=began_at, ended_at=timezone.now(),
    )  # fmt: skip


def _invalid(account: BrokerAccount, cause: str, trouble: str, now: datetime, began_at: datetime) -> ReconRun:
    raise_alert(
        "RECON_INVALID", f"{account.name}: the broker's books were not believed. {trouble}"[:300],
        owner_id=account.owner_id, about=str(account.pk), next_step="Nothing to do: they are read again.",
    )  # fmt: skip
    return ReconRun.objects.create(
        account=account, cause=cause, outcome=Outcome.INVALID, trouble=trouble[:240], venue_at=now, began_at=began_at,
        ended_at=timezone.now(),
    )  # fmt: skip
