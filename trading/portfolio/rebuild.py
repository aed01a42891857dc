"""Positions and ledger, reckoned anew from the facts alone. Where the tables say something else, they are broken."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from trading.domain.orders import Side
from trading.portfolio.ledger import Account
from trading.portfolio.models import LedgerEntry, Portfolio, Position
from trading.portfolio.positions import Holding, replay

Key = tuple[int, str]
"""Instrument and product."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that moved cash, in the order in which it was booked. A trade taken back is its opposite; neither of
    the two `counts` for what is held."""

    key: Key
    side: Side
    quantity: int
    value_paise: int
    charges_paise: int
    counts: bool = True


def rebuild(facts: Iterable[Fact]) -> dict[Key, Holding]:
    """The positions that follow from the facts."""
    fills: dict[Key, list[tuple[Side, int, int]]] = defaultdict(list)
    for fact in facts:
        if fact.counts:
            fills[fact.key].append((fact.side, fact.quantity, fact.value_paise))
    return {key: replay(made) for key, made in fills.items()}


def drift(portfolio: Portfolio, facts: Iterable[Fact]) -> list[str]:
    """What the tables say otherwise than the facts, in words; nothing where all is well."""
    facts = list(facts)
    expected, found = rebuild(facts), []
    rows = {(row.instrument_id, row.product): row for row in Position.objects.filter(portfolio=portfolio)}
    for key in sorted({*expected, *rows}):
        want, row = expected.get(key, Holding()), rows.get(key)
        have = Holding(row.net_quantity, row.cost_paise, row.realised_paise) if row else Holding()
        if want != have:
            found.append(f"position {key}: {have}, the facts say {want}")
    sums: Counter[str] = Counter()
    for entry in LedgerEntry.objects.filter(transaction__portfolio=portfolio).exclude(transaction__kind="ADJUSTMENT"):
        sums[entry.account] += entry.amount_paise
    paid = sum(fact.side.sign * fact.value_paise for fact in facts)
    charges = sum(fact.charges_paise for fact in facts)
    for account, amount in (
        (Account.CASH, portfolio.opening_cash_paise - paid - charges),
        (Account.POSITIONS, sum(holding.cost_paise for holding in expected.values())),
        (Account.REALISED, -sum(holding.realised_paise for holding in expected.values())),
    ):
        if sums[account] != amount:
            found.append(f"{account} says {sums[account]}, the facts {amount}")
    if total := sum(sums.values()):
        found.append(f"the ledger is off by {total} paise")
    return found
