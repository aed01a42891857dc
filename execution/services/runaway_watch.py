"""A program that runs away pulls the kill switch on itself: no new entries, and those that wait are cancelled."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from execution.services.kill_switch_pull import kill_switch_pull
from risk.kill_switch import Level, of_portfolio
from risk.models import TradingState
from risk.policies import active_policy
from risk.runaway import Activity, Bounds, Runaway, signs_of
from trading.portfolio.models import Portfolio
from trading.statements import run

LOOK_BACK = timedelta(minutes=5)
EVERY_S = 2.0
_last_look: dict[int, float] = {}

# What the exchange makes of one wish, however many orders, is one sign. A trade that is built up in legs or let out in
# parts has as many entries as its plan says, and each of them its own stop and its own way out.
ACTIVITY = """
SELECT w.portfolio, found.* FROM unnest(%(portfolios)s::bigint[], %(sinces)s::timestamptz[], %(curves)s::timestamptz[])
    AS w(portfolio, since, venue_since), LATERAL (
WITH trades AS (
    SELECT o.group_id, count(DISTINCT o.intent_id) AS sent FROM execution_order o
    WHERE o.portfolio_id = w.portfolio AND o.created_at > w.since AND o.sent_at IS NOT NULL
    GROUP BY o.group_id
), busiest AS (
    SELECT sent, greatest(1, (
        SELECT count(*) FROM execution_leg l JOIN execution_pyramid p ON p.id = l.pyramid_id
        WHERE p.group_id = trades.group_id AND l.quantity > 0
    ) + (
        SELECT coalesce(sum(CASE WHEN w.style = 'TWAP' THEN w.slices
            ELSE ceil(w.quantity::numeric / w.visible_quantity) END), 0)
        FROM execution_parentorder w WHERE w.group_id = trades.group_id
    ))::bigint AS planned FROM trades
)
SELECT
    coalesce((SELECT sent FROM busiest ORDER BY sent::float / planned DESC LIMIT 1), 0),
    (SELECT count(DISTINCT o.intent_id) FROM execution_order o
        WHERE o.portfolio_id = w.portfolio AND o.created_at > w.since AND o.sent_at IS NOT NULL),
    (SELECT count(*) FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
        WHERE o.portfolio_id = w.portfolio AND f.received_at > w.since),
    (SELECT count(DISTINCT intent_id) FROM (SELECT intent_id FROM execution_order o
        WHERE o.portfolio_id = w.portfolio AND o.created_at > w.since AND o.sent_at IS NOT NULL
          AND o.id > coalesce((SELECT max(id) FROM execution_order good WHERE good.portfolio_id = w.portfolio
                               AND good.acked_at IS NOT NULL AND good.state <> 'REJECTED'), 0)
          AND o.state = 'REJECTED') AS refused),
    (SELECT coalesce(max(equity_paise), 0) FROM portfolio_equitypoint
        WHERE portfolio_id = w.portfolio AND at > w.venue_since AND at <= %(now)s),
    (SELECT coalesce((SELECT equity_paise FROM portfolio_equitypoint
        WHERE portfolio_id = w.portfolio AND at > w.venue_since AND at <= %(now)s ORDER BY at DESC LIMIT 1), 0)),
    coalesce((SELECT planned FROM busiest ORDER BY sent::float / planned DESC LIMIT 1), 1)
) AS found
"""


def runaway_watch(*, account_id: int, now: datetime) -> int:
    """Look at every portfolio of the account, at most once in two seconds; returns how many were stopped.

    What happened before the switch was last touched is known to whoever touched it, and does not count again.
    """
    if time.monotonic() - _last_look.get(account_id, -EVERY_S) < EVERY_S:
        return 0
    _last_look[account_id] = time.monotonic()
    stopped = 0
    watched: list[tuple[Portfolio, datetime | None]] = []
    portfolios = list(Portfolio.objects.filter(account_id=account_id))
    states = TradingState.objects.in_bulk([of_portfolio(one).key for one in portfolios], field_name="scope")
    for portfolio in portfolios:
        state = states.get(of_portfolio(portfolio).key)
        if state is None or state.level < Level.CANCEL_ENTRIES:
            watched.append((portfolio, state.set_at if state else None))
    for portfolio, signs in _look_at_all(watched, now):
        if signs:
            kill_switch_pull(
                scope=of_portfolio(portfolio), level=Level.CANCEL_ENTRIES, actor="runaway watch", now=now,
                reason=f"{signs[0].code}: {signs[0].message}".rstrip("."),
            )  # fmt: skip
            stopped += 1
    return stopped


def look_at(portfolio: Portfolio, *, since: datetime | None, now: datetime) -> list[Runaway]:
    """The signs that one portfolio shows; `since` (wall time) is from when on it is looked at."""
    ((_, signs),) = _look_at_all([(portfolio, since)], now)
    return signs


def _look_at_all(
    watched: Sequence[tuple[Portfolio, datetime | None]], now: datetime
) -> Iterator[tuple[Portfolio, list[Runaway]]]:  # fmt: skip
    policies = {portfolio.pk: active_policy(portfolio.pk) for portfolio, _ in watched}
    wall = timezone.now()
    starts, curves = [], []
    for portfolio, since in watched:
        starts.append(max(wall - LOOK_BACK, since or wall - LOOK_BACK))
        # The switch remembers wall time, the curve is in venue time: after a re-arming it begins anew.
        velocity = timedelta(minutes=policies[portfolio.pk].runaway_loss_min)
        curves.append(now if since is not None and wall - since < velocity else now - velocity)
    rows = run(ACTIVITY, {
        "portfolios": [portfolio.pk for portfolio, _ in watched], "sinces": starts, "curves": curves, "now": now,
    })  # fmt: skip
    activity = {portfolio_id: Activity(*figures) for portfolio_id, *figures in rows}
    for portfolio, _ in watched:
        policy = policies[portfolio.pk]
        yield portfolio, signs_of(activity[portfolio.pk], Bounds(
            orders_per_intent=policy.runaway_orders_per_intent, orders_per_fill=policy.runaway_orders_per_fill,
            rejections=policy.runaway_rejections, loss_pct=policy.runaway_loss_pct,
        ))  # fmt: skip
