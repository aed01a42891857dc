"""What winners pay for a loser is decided on: each open trade of a portfolio as it stands, from its own fills and the
last prices. Reads only."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Q, Sum

from execution.kill_scopes import keys_of
from execution.models import (
    EngineSettings,
    Fill,
    Group,
    Intent,
    Leg,
    Mismatch,
    OffsetMark,
    OffsetPlan,
    PartExit,
    QueuedSignal,
)
from execution.order_charges import charge_broker
from execution.states import OrderState
from risk.models import TradingState
from strategies.tactics.offsets import HeldTrade, OffsetRules, Venue
from trading.domain.money import to_paise
from trading.domain.orders import Reason, Side
from trading.marketdata.models import Feed
from trading.marketdata.quotes import Quote, last_quotes
from trading.marketdata.sessions import session_at
from trading.portfolio.booking import charge_segment
from trading.portfolio.models import Portfolio
from trading.portfolio.positions import Holding, apply_fill
from trading.venue.sessions import Phase

FRESH_S = 5.0
"""Wall seconds after which nothing is planned on a price."""
MEANT = (Intent.State.APPROVED, Intent.State.WAITING)


def rules_of(settings: EngineSettings) -> OffsetRules:
    return OffsetRules(
        pyramids=settings.offset_pyramids,
        wait_s=settings.offset_wait_s,
        loss_pct=settings.offset_loss_pct,
        min_age_s=settings.offset_min_age_s,
        max_winners=settings.offset_max_winners,
        min_close_paise=to_paise(settings.offset_min_close_rupees),
    )


def trades_of(portfolio: Portfolio, settings: EngineSettings, now: datetime) -> list[HeldTrade]:
    """Every trade of a portfolio that is held and not on its way out, oldest first. `now` is venue time.

    Its key is the id of its group.
    """
    groups = list(
        Group.objects.filter(portfolio=portfolio, state__in=Group.HELD, close_reason="")
        .select_related("instrument", "signal__deployment__version")
        .order_by("created_at", "pk")
    )
    if not groups:
        return []
    ids = [group.pk for group in groups]
    held = _held(ids)
    entries = _entries(ids, settings)
    blocks = _blocks(portfolio, groups, now)
    marks = _marks(ids)
    given_up = dict(
        OffsetPlan.objects.filter(loser__in=ids, state=OffsetPlan.State.ABANDONED)
        .order_by().values_list("loser").annotate(at=Max("ended_at"))
    )  # fmt: skip
    quotes = last_quotes(portfolio.account.feed, {group.instrument.symbol for group in groups})
    replaced = _replaced(portfolio) if settings.offset_reset_on_replacement else {}
    broker = charge_broker(portfolio.account)
    trades = []
    for group in groups:
        holding = held.get(group.pk, Holding())
        net = holding.net_quantity * Side(group.side).sign
        if net <= 0:
            continue
        quote = quotes.get(group.instrument.symbol)
        price = quote.last_price if quote is not None and _is_live(quote) else None
        pyramids, timer_at = entries.get(group.pk, (0, None))
        anew = [
            marks.skipped.get(group.pk), given_up.get(group.pk), replaced.get((group.instrument_id, group.side))
        ]  # fmt: skip
        if timer_at is not None:
            timer_at = max([timer_at, *(at for at in anew if at is not None)])
        blocked = marks.blocked.get(group.pk) or blocks.get(group.pk) or ("" if price else "It has no fresh price.")
        trades.append(
            HeldTrade(
                key=str(group.pk), label=group.instrument.ticker, side=Side(group.side), quantity=net,
                cost_paise=abs(holding.cost_paise), price=price, lot=group.instrument.lot_size,
                opened_at=group.created_at, pyramids=pyramids, timer_at=timer_at,
                venue=Venue(broker, charge_segment(group.product)), blocked=blocked,
                passed_over=marks.skipping.get(group.pk, ""),
            )
        )  # fmt: skip
    return trades


def _is_live(quote: Quote) -> bool:
    return not quote.indicative and not quote.is_stale and quote.age_s < FRESH_S


def _held(ids: list[Any]) -> dict[Any, Holding]:
    """What each trade holds, and what that cost: its own fills, in the order in which they were booked."""
    found: dict[Any, Holding] = {}
    fills = Fill.objects.filter(order__group__in=ids, bust=None).order_by("pk")
    for group_id, side, quantity, value in fills.values_list(
        "order__group", "order__side", "quantity", "value_paise"
    ):  # fmt: skip
        found[group_id] = apply_fill(
            found.get(group_id, Holding()), side=Side(side), quantity=quantity, value_paise=value
        )
    return found


# -- pyramids and the wait ---------------------------------------------------------------------------------------------


def _entries(ids: list[Any], settings: EngineSettings) -> dict[Any, tuple[int, datetime | None]]:
    """How many pyramids each trade has received, and when its wait began. A trade that is not built up has one."""
    built: dict[Any, list[Leg]] = {}
    legs = (
        Leg.objects.filter(pyramid__group__in=ids)
        .select_related("pyramid")
        .annotate(
            meant=Count("intents", filter=Q(intents__state__in=MEANT), distinct=True),
            sent=Sum("intents__orders__quantity", filter=Q(intents__orders__acked_at__isnull=False)),
            filled=Sum("intents__orders__filled_quantity"),
            acked_at=Max("intents__orders__acked_at"),
            ended_at=Max("intents__orders__done_at"),
        )
    )
    for leg in legs:
        built.setdefault(leg.pyramid.group_id, []).append(leg)
    plain = {
        row["order__group"]: row
        for row in Fill.objects.filter(order__group__in=set(ids) - built.keys(), order__reason=Reason.ENTRY, bust=None)
        .values("order__group")
        .annotate(at=Max("received_at"), acked=Max("order__acked_at"), began=Max("order__group__created_at"),
                  done=Max("order__done_at"))
    }  # fmt: skip
    found = {group_id: _wait_of(own, settings) for group_id, own in built.items()}
    for group_id, row in plain.items():
        at = {
            EngineSettings.Timer.AFTER_PYRAMIDS: row["began"],
            EngineSettings.Timer.AFTER_SUBMITTED: row["acked"],
            EngineSettings.Timer.AFTER_FILLED: row["done"] and row["at"],
        }[EngineSettings.Timer(settings.offset_timer)]
        found[group_id] = (1, at if settings.offset_pyramids <= 1 else None)
    return found


def _wait_of(legs: Iterable[Any], settings: EngineSettings) -> tuple[int, datetime | None]:
    by_pyramid: dict[Any, list[Any]] = {}
    for leg in legs:
        by_pyramid.setdefault(leg.pyramid, []).append(leg)
    # One whose first leg was refused was never let in.
    came = sorted((one for one, own in by_pyramid.items() if any(leg.meant for leg in own)), key=lambda one: one.index)
    if len(came) < settings.offset_pyramids:
        return len(came), None
    needed = came[: settings.offset_pyramids]
    timer = EngineSettings.Timer(settings.offset_timer)
    if timer is EngineSettings.Timer.AFTER_PYRAMIDS:
        return len(came), needed[-1].created_at
    # A leg that is blocked for good never gets to the broker: nobody waits for it.
    own = [
        leg for one in needed for leg in by_pyramid[one] if leg.quantity and (not leg.blocked_code or leg.retry_at)
    ]  # fmt: skip
    if timer is EngineSettings.Timer.AFTER_SUBMITTED:
        there = [leg.acked_at for leg in own if (leg.sent or 0) >= leg.quantity]
    else:
        there = [leg.ended_at for leg in own if (leg.filled or 0) >= leg.quantity]
    if not own or len(there) < len(own) or None in there:
        return len(came), None
    return len(came), max(there)


def _replaced(portfolio: Portfolio) -> dict[tuple[int, str], datetime]:
    """When a newer signal last took the place of one that waited, by instrument and side. Which that was the newer one
    tells: of several that come at once those in between leave no row."""
    rows = QueuedSignal.objects.filter(portfolio=portfolio, replacement_count__gt=0)
    newest = rows.order_by().values_list("instrument", "side").annotate(at=Max("signal__created_at"))
    return {(instrument, side): at for instrument, side, at in newest}


# -- what must not be touched ------------------------------------------------------------------------------------------


class _Marks:
    """What people said, by trade: sentences, and when one was last passed over."""

    def __init__(self) -> None:
        self.blocked: dict[Any, str] = {}
        self.skipping: dict[Any, str] = {}
        self.skipped: dict[Any, datetime] = {}


SKIP_USED = "its turn"
"""What ended a mark that was used, where a person's name would stand."""


def _marks(ids: list[Any]) -> _Marks:
    found = _Marks()
    Kind = OffsetMark.Kind
    marks = OffsetMark.objects.filter(Q(ended_at=None) | Q(kind=Kind.SKIP_ONCE, ended_by=SKIP_USED), group__in=ids)
    for mark in marks.order_by("pk"):
        if mark.ended_at is not None:
            found.skipped[mark.group_id] = mark.ended_at
        elif mark.kind == Kind.BLOCK:
            found.blocked[mark.group_id] = f"Blocked by {mark.actor}."[:240]
        else:
            found.skipping[mark.group_id] = f"To be passed over once: {mark.actor}."[:240]
    return found


def _blocks(portfolio: Portfolio, groups: list[Group], now: datetime) -> dict[Any, str]:
    """Why a trade is left alone, whoever may say so but a person."""
    ids = [group.pk for group in groups]
    doubted = set(
        Mismatch.objects.filter(account=portfolio.account_id, state__in=Mismatch.HELD_BACK).values_list(
            "symbol", flat=True
        )
    )
    unknown = set(Group.objects.filter(pk__in=ids, orders__state=OrderState.UNKNOWN).values_list("pk", flat=True))
    leaving = set(
        PartExit.objects.filter(group__in=ids, state=PartExit.State.ASKED, rests=False).values_list("group", flat=True)
    )
    pulled = dict(TradingState.objects.filter(level__gt=TradingState.Level.ACTIVE).values_list("scope", "level"))
    feed = Feed.objects.get(name=portfolio.account.feed)
    found = {}
    for group in groups:
        if group.quarantined or group.instrument.symbol in doubted:
            found[group.pk] = "It is in quarantine."
        elif pulled and not pulled.keys().isdisjoint(keys_of(portfolio, group.instrument_id, group.signal)):
            found[group.pk] = "A kill switch is pulled."
        elif group.pk in leaving:
            found[group.pk] = "A part of it is being closed."
        elif group.pk in unknown:
            found[group.pk] = "The broker has not said what became of one of its orders."
        else:
            session = session_at(feed, group.instrument, now)
            if session is None or session.phase_at(now) is not Phase.CONTINUOUS:
                found[group.pk] = "Its market is closed."
    return found
