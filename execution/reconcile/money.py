"""Does the broker count the money as its own trades explain it? Pure: no database, no network, no clock.

Two things are asked. Did money come or go since the day's first reading that no profit explains? Brokers differ in
whether the day's profit is in their total: which way one goes is learnt from its own readings, and until then only what
neither way explains is a difference. And is the profit that
the broker has booked today that of the trades? It is comparable where all of the day's trades are intraday: a
delivery is paid for and settled in ways that differ from broker to broker.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from execution.reconcile.compare import Difference, Key
from trading.domain.orders import Product

BALANCE, REALISED = "balance", "realised"
FUNDS, MONEY = "FUNDS", "INR"
ROUNDING_PAISE = 100
"""What averages that were rounded by the broker may make up together, besides a paisa for each trade."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the broker said. Paise."""

    total: int
    realised: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One trade of the day: `quantity` units, signed, for `value_paise`, positive."""

    key: Key
    quantity: int
    value_paise: int


def day_realised(flows: Iterable[Flow]) -> int:
    """Paise booked today as brokers count: what was both bought and sold, at the day's averages."""
    bought: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    sold: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    for one in flows:
        side = (bought if one.quantity > 0 else sold)[one.key]
        side[0] += abs(one.quantity)
        side[1] += one.value_paise
    total = Fraction(0)
    for key in bought.keys() & sold.keys():
        (bought_quantity, paid), (sold_quantity, got) = bought[key], sold[key]
        matched = min(bought_quantity, sold_quantity)
        total += matched * (Fraction(got, sold_quantity) - Fraction(paid, bought_quantity))
    return round(total)


def counts_profit(*, first: Reading, last: Reading, explained: int) -> bool | None:
    """Whether the total of a broker holds the day's profit, where two readings tell; None where they do not."""
    moved, profit = last.total - first.total - explained, last.realised - first.realised
    without, within = abs(moved) <= ROUNDING_PAISE, abs(moved - profit) <= ROUNDING_PAISE
    return None if without == within else within


def compare_money(
    *, first: Reading, last: Reading, flows: Iterable[Flow], accepted: Mapping[str, int],
    profit_in_total: bool | None = None,
) -> list[Difference]:  # fmt: skip
    """Differences between two readings of one day and the trades. `accepted`: by reference, what a person, or a
    payment that was taken over, has explained of them; `profit_in_total` as `counts_profit` learnt it."""
    flows = list(flows)
    found = []
    if not any(one.key[1] == Product.CNC and one.quantity < 0 for one in flows):
        moved, profit = last.total - first.total, last.realised - first.realised
        explained = accepted.get(BALANCE, 0)
        ways = {False: moved - explained, True: moved - profit - explained}
        left = min(ways.values(), key=abs) if profit_in_total is None else ways[profit_in_total]
        if abs(left) > ROUNDING_PAISE:
            ours = first.total + explained
            found.append(Difference(FUNDS, MONEY, "", ours, ours + left, BALANCE))
    if all(one.key[1] == Product.INTRADAY for one in flows):
        ours = day_realised(flows) + accepted.get(REALISED, 0)
        if abs(last.realised - ours) > ROUNDING_PAISE + len(flows):
            found.append(Difference(FUNDS, MONEY, "", ours, last.realised, REALISED))
    return found
