"""How well orders were carried out: what they cost against the price at the decision and at the exchange's door, how
long each stage took, how much of them filled. Counted in the database; a figure says of how many orders it is.

Slippage is in basis points of the reference, positive where it cost; a stop is measured against its trigger. Latency
is wall time in milliseconds. Days and hours are the market's own, IST. An order that is still at work, and a stop that
was never reached, say nothing about filling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.db import connection

from execution.models import Intent, Order
from execution.states import LIVE_STATES
from strategies.reports.export import csv_line, safe
from trading.domain.clock import IST

USUAL_DAYS = 30
LONGEST_DAYS = 3 * 366
MOST_ROWS = 200
WORST = 25
LARGEST_FILE = 100_000
Sort = Literal["slippage", "wire", "ack", "fill", "newest"]

_STRATEGY = """CASE WHEN c.id IS NOT NULL THEN c.name WHEN s.source = 'HOOK' THEN coalesce(h.name, s.origin)
    ELSE 'By hand' END"""
_STRATEGY_KEY = """CASE WHEN c.id IS NOT NULL THEN 'contract:' || c.id
    WHEN s.source = 'HOOK' THEN 'hook:' || coalesce(s.hook_ref::text, '') ELSE 'hand' END"""
_LOCAL = "o.placed_at AT TIME ZONE 'Asia/Kolkata'"
DIMENSIONS: dict[str, tuple[str, str, str]] = {
    # name: (heading, key, label), the last two as SQL made of constants
    "strategy": ("Strategy", _STRATEGY_KEY, _STRATEGY),
    "instrument": ("Instrument", "m.symbol", "m.symbol"),
    "hour": ("Hour", f"to_char({_LOCAL}, 'HH24')", f"to_char({_LOCAL}, 'HH24') || ':00'"),
    "type": ("Order type", "o.order_type", "o.order_type"),
    "reason": ("Reason", "o.reason", "o.reason"),
}
BEYOND = {
    "portfolio": ("Portfolio", "o.portfolio_id::text", "p.name"),
    "all": ("All", "'all'", "'all'"),
    "day": ("Day", f"({_LOCAL})::date::text", f"({_LOCAL})::date::text"),
}
STAGES = ("risk", "wire", "ack", "fill")
"""Signal to the verdict of risk; order written to the wire; wire to the broker's word; that word to the first fill."""

# One row an order that left the desk, with all that is measured of it.
MEASURED = """
SELECT o.id, o.portfolio_id, o.client_order_id, o.placed_at, o.side, o.order_type, o.reason, o.state,
       m.symbol, {key} AS key, {label} AS label, o.quantity, paid.asked, o.filled_quantity AS filled,
       o.decision_price, o.arrival_price, o.trigger_price,
       paid.price AS fill_price,
       10000 * (paid.price / nullif(coalesce(o.trigger_price, o.decision_price), 0) - 1) * paid.sign AS decision_bps,
       10000 * (paid.price / nullif(coalesce(o.trigger_price, o.arrival_price), 0) - 1) * paid.sign AS arrival_bps,
       paid.sign * (o.fill_value_paise - round(100 * o.filled_quantity
           * coalesce(o.trigger_price, o.arrival_price, o.decision_price))) AS cost_paise,
       CASE WHEN i.signal_id IS NOT NULL THEN 1000 * extract(epoch FROM i.created_at - s.created_at) END AS risk_ms,
       1000 * extract(epoch FROM o.sent_at - o.created_at) AS wire_ms,
       CASE WHEN o.acked_at >= o.sent_at THEN 1000 * extract(epoch FROM o.acked_at - o.sent_at) END AS ack_ms,
       CASE WHEN o.trigger_price IS NULL AND o.first_fill_at >= o.acked_at
            THEN 1000 * extract(epoch FROM o.first_fill_at - o.acked_at) END AS fill_ms,
       CASE WHEN o.state <> ALL(%(live)s) AND (o.trigger_price IS NULL OR o.filled_quantity > 0)
            THEN least(1, o.filled_quantity::numeric / nullif(paid.asked, 0)) END AS fill_ratio
FROM execution_order o
JOIN execution_intent i ON i.id = o.intent_id
CROSS JOIN LATERAL (
    SELECT o.fill_value_paise / 100.0 / nullif(o.filled_quantity, 0) AS price,
           CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END AS sign,
           -- an entry may be made smaller as it follows the market, a stop larger with what it protects
           CASE WHEN EXISTS (SELECT 1 FROM execution_order x WHERE x.intent_id = o.intent_id AND x.child > 0)
                THEN o.quantity ELSE greatest(i.allowed_quantity, o.quantity) END AS asked
) AS paid
JOIN execution_group g ON g.id = o.group_id
JOIN marketdata_instrument m ON m.id = o.instrument_id
JOIN portfolio_portfolio p ON p.id = o.portfolio_id
LEFT JOIN strategies_signal s ON s.id = coalesce(i.signal_id, g.signal_id)
LEFT JOIN strategies_deployment d ON d.id = s.deployment_id
LEFT JOIN strategies_contractversion v ON v.id = d.version_id
LEFT JOIN strategies_strategycontract c ON c.id = v.contract_id
LEFT JOIN execution_hook h ON h.id = s.hook_ref
WHERE o.portfolio_id = ANY(%(portfolios)s) AND o.sent_at IS NOT NULL
  AND o.placed_at >= %(since)s AND o.placed_at < %(until)s
"""
_SPREADS = ("decision_bps", "arrival_bps", *(f"{stage}_ms" for stage in STAGES))
_QUANTILES = "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {name}), count({name})"
SUMMED = f"""
SELECT key, min(label), count(*), count(*) FILTER (WHERE filled > 0), avg(fill_ratio), count(fill_ratio),
       coalesce(sum(cost_paise), 0), {", ".join(_QUANTILES.format(name=name) for name in _SPREADS)}
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose orders, and of which days of the market, the last included. The caller has seen to whose they are."""

    portfolios: tuple[int, ...]
    since: date
    until: date

    def bounds(self) -> dict[str, Any]:
        return {
            "portfolios": list(self.portfolios), "live": [str(state) for state in LIVE_STATES],
            "since": datetime.combine(self.since, time(), tzinfo=IST),
            "until": datetime.combine(self.until + timedelta(days=1), time(), tzinfo=IST),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the far end of what was measured, and of how many; None where of none."""

    p50: float | None
    p95: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Line:
    """One strategy, instrument, hour, or whatever was asked for. `cost_paise`: what slippage cost in all."""

    key: str
    label: str
    orders: int
    filled_orders: int
    fill_ratio: float | None
    ended: int
    cost_paise: int
    decision_bps: Spread
    arrival_bps: Spread
    risk_ms: Spread
    wire_ms: Spread
    ack_ms: Spread
    fill_ms: Spread


@dataclass(frozen=True, slots=True)
class Measured:
    """One order with what was measured of it."""

    order_id: int
    portfolio_id: int
    client_order_id: str
    placed_at: datetime
    side: str
    order_type: str
    reason: str
    state: str
    symbol: str
    key: str
    strategy: str
    quantity: int
    asked: int
    filled: int
    decision_price: Decimal | None
    arrival_price: Decimal | None
    trigger_price: Decimal | None
    fill_price: Decimal | None
    decision_bps: float | None
    arrival_bps: float | None
    cost_paise: int | None
    risk_ms: float | None
    wire_ms: float | None
    ack_ms: float | None
    fill_ms: float | None
    fill_ratio: float | None

    @property
    def ticker(self) -> str:
        return self.symbol.partition(":")[2].removesuffix("-EQ") or self.symbol


def quality(scope: Scope, *, by: str) -> list[Line]:
    """The figures of every part of a scope, most orders first; by hour and by day in their order. KeyError: no such
    dimension."""
    _, key, label = (DIMENSIONS | BEYOND)[by]
    order = "key" if by in ("hour", "day") else "count(*) DESC, key"
    measured = MEASURED.format(key=key, label=label)
    rows = _rows(
        f"{SUMMED} FROM ({measured}) AS one GROUP BY key ORDER BY {order} LIMIT {MOST_ROWS}",
        scope.bounds(),
    )
    return [_line(row) for row in rows]


def quality_of_all(scope: Scope) -> Line | None:
    """The same of everything together; None where nothing was sent."""
    return next(iter(quality(scope, by="all")), None)


def orders_of(
    scope: Scope, *, by: str | None = None, key: str = "", sort: Sort = "slippage", most: int = WORST
) -> list[Measured]:
    """Single orders of a scope, or of one line of it: the dearest, the slowest or the newest first."""
    _, expression, _ = (DIMENSIONS | BEYOND)[by or "all"]
    orders = {
        "slippage": "cost_paise DESC NULLS LAST", "wire": "wire_ms DESC NULLS LAST", "ack": "ack_ms DESC NULLS LAST",
        "fill": "fill_ms DESC NULLS LAST", "newest": "id DESC",
    }  # fmt: skip
    measured = MEASURED.format(key=expression, label=_STRATEGY)
    rows = _rows(
        f"SELECT {_COLUMNS} FROM ({measured}) AS one WHERE %(key)s = '' OR key = %(key)s"  # noqa: S608 - constants
        f" ORDER BY {orders[sort]}, id DESC LIMIT %(most)s",
        scope.bounds() | {"key": key, "most": most},
    )
    return [_measured(row) for row in rows]


def quality_file(scope: Scope) -> Iterator[str]:
    """Every order of a scope as the lines of a CSV, headings first, the newest on top, LARGEST_FILE at most."""
    names = [field.name for field in fields(Measured) if field.name not in ("key", "portfolio_id")]
    yield csv_line(names)
    for one in orders_of(scope, sort="newest", most=LARGEST_FILE):
        yield csv_line([_cell(getattr(one, name)) for name in names])


def stages_of(order: Order, intent: Intent) -> list[tuple[str, float | None]]:
    """Name and milliseconds of each stage of one order, None where it has not happened or was not timed."""
    return [
        ("Signal to risk", _ms(intent.signal.created_at if intent.signal else None, intent.created_at)),
        ("Risk to the wire", _ms(order.created_at, order.sent_at)),
        ("Wire to the broker’s word", _ms(order.sent_at, order.acked_at)),
        ("That word to the first fill", _ms(order.acked_at, order.first_fill_at)),
        ("First fill to the end", _ms(order.first_fill_at, order.done_at)),
    ]


_COLUMNS = """id, portfolio_id, client_order_id, placed_at, side, order_type, reason, state, symbol, key, label,
quantity, asked, filled, decision_price, arrival_price, trigger_price, fill_price, decision_bps, arrival_bps,
cost_paise, risk_ms, wire_ms, ack_ms, fill_ms, fill_ratio"""


def _rows(statement: str, values: dict[str, Any]) -> list[Sequence[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _line(row: Sequence[Any]) -> Line:
    key, label, orders, filled, ratio, ended, cost, *spreads = row
    return Line(
        key, label, orders, filled, _rounded(ratio, 4), ended, int(cost),
        *(_spread(*spreads[at : at + 2]) for at in range(0, len(spreads), 2)),
    )  # fmt: skip


def _spread(quantiles: Sequence[Any] | None, n: int) -> Spread:
    p50, p95 = quantiles or (None, None)
    return Spread(_rounded(p50, 2), _rounded(p95, 2), n)


def _measured(row: Sequence[Any]) -> Measured:
    *facts, decision_bps, arrival_bps, cost, risk_ms, wire_ms, ack_ms, fill_ms, ratio = row
    facts[-1] = None if facts[-1] is None else round(Decimal(facts[-1]), 4)
    stages = [_rounded(ms, 1) for ms in (risk_ms, wire_ms, ack_ms, fill_ms)]
    bps = [_rounded(one, 2) for one in (decision_bps, arrival_bps)]
    values: list[Any] = [*facts, *bps, None if cost is None else int(cost), *stages, _rounded(ratio, 4)]
    return Measured(*values)


def _rounded(value: Any, places: int) -> float | None:
    return None if value is None else round(float(value), places)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(IST).isoformat()
    return safe(value) if isinstance(value, str) else "" if value is None else value


def _ms(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds() * 1000, 1) if start and end and end >= start else None
