"""What a contract asks for at the close of a bar: to leave by its rule, or to draw its trailing stop closer.

Judged once for each bar of each trade, on the candles alone: the same bars give a backtest the same answer. A trailing
stop is watched by the engine; the stop that stands at the broker is not moved and remains the last protection.
"""

from datetime import datetime
from decimal import Decimal

import numpy as np

from execution.models import Group
from execution.services.group_exit import group_exit
from execution.services.stop_closer import average_entry, draw_closer
from strategies.rules.evaluate import Evaluation
from strategies.rules.nodes import Rank, walk
from strategies.scanner.due import closed_bars, scanned_until
from strategies.scanner.scan_bar import CompiledContract, cache, compile_deployment, other_bars, rule_window
from strategies.tactics.trailing import trailing_stop
from trading.domain.orders import Reason, Side
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import PriceWindow
from trading.venue.sessions import exchange_date


def bar_exit(*, account_id: int, now: datetime) -> int:
    """Judge every open trade of an account whose contract asks for it and whose bar has closed.

    Returns for how many there is something new: an exit asked for, or a stop that the engine must watch elsewhere.
    """
    groups = Group.objects.filter(
        portfolio__account_id=account_id, state__in=Group.HELD, close_reason="", signal__deployment__isnull=False,
        opened_at__isnull=False,
    ).select_related(
        "portfolio__account", "instrument", "signal__deployment__version", "signal__deployment__universe"
    )  # fmt: skip
    asked = 0
    for group in groups:
        assert group.signal is not None and group.signal.deployment is not None
        contract = compile_deployment(group.signal.deployment)
        if contract.body.trailing is None and Side(group.side) not in dict(contract.exits):
            continue
        asked += _judge(group, contract, str(group.signal.deployment.version), now)
    return asked


def _judge(group: Group, contract: CompiledContract, version: str, now: datetime) -> int:
    feed = Feed.objects.get(name=group.portfolio.account.feed)
    minutes = contract.body.timeframe_minutes
    ends = closed_bars(feed, timeframe=minutes, now=now)
    newest = ends[-1] if ends else None
    if newest is None or group.opened_at is None or newest <= group.opened_at:
        return 0
    if group.judged_through is not None and newest <= group.judged_through:
        return 0
    rule = dict(contract.exits).get(Side(group.side))
    alone = rule is None or not any(isinstance(node, Rank) for node in walk(rule.node))
    instruments = [group.instrument] if alone else _universe(group, now)
    until = scanned_until(feed, timeframe=minutes, bar_at=newest)
    prices = cache.window(feed, instruments, minutes, bars=contract.bars, until=until, adjusted=True)
    if not prices.bars or prices.starts[-1] < newest.timestamp() - 60 * minutes:
        return 0  # its candle is not there yet: asked again in a moment
    row = prices.row(group.instrument.symbol)
    moved = contract.body.trailing is not None and _trail(group, contract, prices, row)
    Group.objects.filter(pk=group.pk).update(judged_through=newest)
    if rule is None:
        return int(moved)
    others = other_bars(contract.rules, feed=feed, instruments=instruments, base=minutes, until=until)
    evaluation = Evaluation(rule_window(prices, others))
    if not evaluation.truth(rule.node)[row, -1]:
        return int(moved)
    return int(moved | group_exit(group_id=group.pk, reason=Reason.RULE, actor=version))


def _trail(group: Group, contract: CompiledContract, prices: PriceWindow, row: int) -> bool:
    """Draw the trailing stop closer where the bars since the entry allow it; whether it moved."""
    spec, side = contract.body.trailing, Side(group.side)
    entry = average_entry(group)
    if spec is None or entry is None or group.opened_at is None or group.signal is None:
        return False
    since = np.asarray(prices.starts) + 60 * contract.body.timeframe_minutes > group.opened_at.timestamp()
    seen = (prices.high if side is Side.BUY else prices.low)[row, since]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return False
    best = Decimal(str(round(float(seen.max() if side is Side.BUY else seen.min()), 4)))
    atr = group.signal.features.get("atr")
    stop = trailing_stop(
        side, entry, best, spec, tick=group.instrument.tick_size, atr=atr, before=group.trail_price
    )  # fmt: skip
    return stop is not None and draw_closer(group, stop)


def _universe(group: Group, now: datetime) -> list[Instrument]:
    assert group.signal is not None and group.signal.deployment is not None
    found = [one for one in members(group.signal.deployment.universe, exchange_date(now)) if one.is_tradable]
    return found if group.instrument in found else [*found, group.instrument]
