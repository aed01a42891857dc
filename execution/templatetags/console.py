"""What the console's home page shows first."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django import template
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.selectors import accounts_needing_login
from execution.models import EngineLease, Group, Intent, Order, ParkedFill
from execution.states import OrderState
from risk.models import TradingState
from trading.audit.console import may_operate
from trading.domain.formatting import ist_time, price, quantity
from trading.monitoring.models import Alert, Heartbeat

register = template.Library()

SHOWN = 20
HEARTBEAT_LATE = timedelta(seconds=60)


@dataclass
class Item:
    """One thing to look at, with the buttons that deal with it (action name, label)."""

    text: str
    detail: str
    url: str
    pk: Any
    level: str = "warning"
    buttons: tuple[tuple[str, str], ...] = ()


@dataclass
class Block:
    """One kind of thing. `changelist` takes the buttons' posts."""

    title: str
    calm: str
    changelist: str
    items: list[Item] = field(default_factory=list)


def _block(model: Any, title: str, calm: str, rows: Any, read: Any) -> Block:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    items = []
    for row in rows[:SHOWN]:
        item = read(row)
        item.url = reverse(f"{name}_change", args=[row.pk])
        items.append(item)
    return Block(title, calm, reverse(f"{name}_changelist"), items)


def _approval(intent: Intent) -> Item:
    at = f"at {price(intent.limit_price)}" if intent.limit_price else "at market"
    what = f"{intent.side} {quantity(intent.allowed_quantity)} {intent.instrument.ticker} {at}"
    until = f"{intent.portfolio} · until {ist_time(intent.decide_by)}" if intent.decide_by else str(intent.portfolio)
    return Item(what, until, "", intent.pk, buttons=(("approve", "Approve"), ("refuse", "Refuse")))


def _login(account: Any) -> Item:
    return Item(f"{account.name} of {account.owner}", f"{account.auth_state} {account.auth_cause}", "", account.pk)


def _unknown(order: Order) -> Item:
    age = f"asking the broker since {ist_time(order.unknown_since)}" if order.unknown_since else "asking the broker"
    what = f"{order.client_order_id} {order.side} {quantity(order.quantity)} {order.instrument.ticker}"
    return Item(what, age, "", order.pk, level="severe")


def _quarantined(group: Group) -> Item:
    what = f"{group.side} {group.instrument.ticker} of {group.portfolio}"
    return Item(what, group.state, "", group.pk, level="severe", buttons=(("close", "Close at market"),))


def _parked(fill: ParkedFill) -> Item:
    return Item(f"Order {fill.broker_order_id}", f"{fill.account} · {ist_time(fill.received_at)}", "", fill.pk)


def _alert(alert: Alert) -> Item:
    times = f" ×{alert.count}" if alert.count > 1 else ""
    detail = f"{alert.code}{times} · {ist_time(alert.last_at)} {alert.next_step}"
    return Item(alert.message, detail, "", alert.pk, alert.level.lower(), (("acknowledge", "Acknowledge"),))


def _engine(lease: EngineLease) -> Item:
    well = lease.state == EngineLease.State.RUNNING
    buttons = (("pause", "Pause"),) if well else (("resume", "Resume"),)
    detail = " ".join(filter(None, [lease.cause, f"last beat {ist_time(lease.beat_at)}" if lease.beat_at else ""]))
    return Item(f"{lease.account}: {lease.state}", detail, "", lease.pk, "info" if well else "warning", buttons)


def _kill(state: TradingState) -> Item:
    detail = f"{state.reason} · {state.set_by} {ist_time(state.set_at) if state.set_at else ''}"
    return Item(f"{state.what}: {state.get_level_display()}", detail, "", state.pk, "severe")


def _heartbeat(beat: Heartbeat) -> Item:
    age = timezone.now() - beat.at
    late = age > HEARTBEAT_LATE
    return Item(beat.name, f"{age.total_seconds():.0f} s ago", "", beat.pk, "warning" if late else "info")


@register.inclusion_tag("admin/_attention.html", takes_context=True)
def attention(context: template.Context) -> dict[str, Any]:
    """Everything across all users that waits for a person, each with its button."""
    request = context["request"]
    leases = EngineLease.objects.select_related("account").order_by("account__name")
    blocks = [
        _block(
            Intent, "Approvals waiting", "No order waits for a yes.",
            Intent.objects.filter(state=Intent.State.WAITING)
            .filter(Q(decide_by=None) | Q(decide_by__gt=timezone.now()))
            .select_related("instrument", "portfolio").order_by("decide_by"),
            _approval,
        ),
        _block(
            Order, "Unknown orders", "The broker's book agrees with ours.",
            Order.objects.filter(state=OrderState.UNKNOWN).select_related("instrument"), _unknown,
        ),
        _block(
            Group, "Quarantined trades", "Nothing is quarantined.",
            Group.objects.filter(quarantined=True).exclude(state=Group.State.CLOSED)
            .select_related("instrument", "portfolio"),
            _quarantined,
        ),
        _block(
            ParkedFill, "Parked fills", "Every fill has found its order.",
            ParkedFill.objects.filter(drained_at=None).select_related("account").order_by("-pk"), _parked,
        ),
        _block(
            Alert, "Alerts", "No open alert.",
            Alert.objects.filter(acknowledged_at=None).order_by("-last_at"), _alert,
        ),
        _block(
            accounts_needing_login().model, "Accounts needing a sign-in", "Every account is signed in.",
            accounts_needing_login(), _login,
        ),
        _block(
            TradingState, "Kill switches", "No kill switch is pulled.",
            TradingState.objects.exclude(level=TradingState.Level.ACTIVE).order_by("-level"), _kill,
        ),
        _block(EngineLease, "Engines", "No engine has started yet.", leases, _engine),
        _block(Heartbeat, "Heartbeats", "Nothing has reported yet.", Heartbeat.objects.order_by("name"), _heartbeat),
    ]  # fmt: skip
    return {"blocks": blocks, "may_operate": may_operate(request), "csrf_token": context.get("csrf_token")}
