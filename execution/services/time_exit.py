"""A contract may say how many bars a trade lasts at most, and at which time of day it ends."""

from datetime import datetime, timedelta

from execution.models import Group
from execution.services.group_exit import group_exit
from strategies.contracts.schema import ContractBody
from strategies.scanner.scan_bar import compile_deployment
from trading.domain.clock import IST
from trading.domain.orders import Reason
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.sessions import session_at
from trading.venue.sessions import exchange_date


def time_exit(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every trade that has had its bars or its time. Returns how many are newly asked."""
    groups = (
        Group.objects.filter(
            portfolio__account_id=account_id, state__in=Group.HELD, close_reason="", signal__deployment__isnull=False,
            opened_at__isnull=False,
        )
        .select_related("signal__deployment__version", "portfolio__account", "instrument")
    )  # fmt: skip
    asked = 0
    for group in groups:
        if group.signal is None or group.signal.deployment is None or group.opened_at is None:
            continue
        body = compile_deployment(group.signal.deployment).body
        if body.max_bars is None and body.exit_at is None:
            continue
        feed = Feed.objects.get(name=group.portfolio.account.feed)
        if _time_is_up(body, feed, group.instrument, opened_at=group.opened_at, now=now):
            asked += group_exit(group_id=group.pk, reason=Reason.TIME, actor="the clock")
    return asked


def _time_is_up(body: ContractBody, feed: Feed, instrument: Instrument, *, opened_at: datetime, now: datetime) -> bool:
    if body.exit_at is not None:
        ends_at = datetime.combine(exchange_date(now), body.exit_at, tzinfo=IST)
        if opened_at < ends_at <= now:
            return True
    return body.max_bars is not None and bars_held(body, feed, instrument, since=opened_at, now=now) >= body.max_bars


def bars_held(body: ContractBody, feed: Feed, instrument: Instrument, *, since: datetime, now: datetime) -> int:
    """Bars of the contract that have ended since an instant: nights and holidays hold none."""
    count, day = 0, exchange_date(since)
    while day <= exchange_date(now) and (body.max_bars is None or count < body.max_bars):
        noon = datetime.combine(day, datetime.min.time(), tzinfo=IST) + timedelta(hours=12)
        session = session_at(feed, instrument, noon)
        if session is not None:
            minutes = body.timeframe_minutes
            ends = (session.bar_end(start, minutes) for start in session.bar_starts(minutes))
            count += sum(since < end <= now for end in ends)
        day += timedelta(days=1)
    return count
