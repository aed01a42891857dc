"""A fill becomes position and ledger, once and together. Nothing else moves either."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from trading.domain.money import to_rupees
from trading.domain.orders import Product, Side
from trading.marketdata.models.instrument import ticker_of
from trading.portfolio.ledger import Account, balanced
from trading.portfolio.models import LedgerTransaction
from trading.portfolio.positions import Holding, apply_fill, replay
from trading.statements import run, tell
from trading.venue.charges import ChargeSegment, ChargeSheet

CHARGE_ACCOUNTS = {
    "brokerage": Account.BROKERAGE, "stt": Account.STT, "exchange": Account.EXCHANGE, "sebi": Account.SEBI,
    "stamp": Account.STAMP, "gst": Account.GST, "ipft": Account.IPFT, "dp": Account.DP,
}  # fmt: skip


HELD = """
SELECT p.id, p.net_quantity, p.cost_paise, p.realised_paise, i.symbol, i.segment
FROM portfolio_position p JOIN marketdata_instrument i ON i.id = p.instrument_id
WHERE p.portfolio_id = %(portfolio)s AND p.instrument_id = %(instrument)s AND p.product = %(product)s FOR UPDATE OF p
"""
BEGIN = """
INSERT INTO portfolio_position (portfolio_id, instrument_id, product, net_quantity, cost_paise, realised_paise,
                                charges_paise)
VALUES (%(portfolio)s, %(instrument)s, %(product)s, 0, 0, 0, 0)
ON CONFLICT (portfolio_id, instrument_id, product) DO NOTHING
"""
# The position moves where the event was new, and its charges are posted beside it. The position is locked.
BOOK = f"""
WITH posted AS (
    INSERT INTO portfolio_ledgertransaction (portfolio_id, key, kind, memo, occurred_at, created_at)
    VALUES (%(portfolio)s, 'fill:' || %(key)s::text, '{LedgerTransaction.Kind.FILL}', %(memo)s, %(at)s, now())
    ON CONFLICT (portfolio_id, key) DO NOTHING RETURNING id
), charged AS (
    INSERT INTO portfolio_ledgertransaction (portfolio_id, key, kind, memo, occurred_at, created_at)
    SELECT %(portfolio)s, 'charges:' || %(key)s::text, '{LedgerTransaction.Kind.CHARGES}', %(cost_memo)s, %(at)s, now()
    FROM posted WHERE cardinality(%(cost_accounts)s::text[]) > 0
    ON CONFLICT (portfolio_id, key) DO NOTHING RETURNING id
), legs AS (
    INSERT INTO portfolio_ledgerentry (transaction_id, account, amount_paise)
    SELECT posted.id, leg.account, leg.paise
    FROM posted, unnest(%(accounts)s::text[], %(amounts)s::bigint[]) AS leg (account, paise) WHERE leg.paise <> 0
), cost_legs AS (
    INSERT INTO portfolio_ledgerentry (transaction_id, account, amount_paise)
    SELECT charged.id, leg.account, leg.paise
    FROM charged, unnest(%(cost_accounts)s::text[], %(cost_amounts)s::bigint[]) AS leg (account, paise)
    WHERE leg.paise <> 0
)
UPDATE portfolio_position AS p
SET net_quantity = %(net)s, cost_paise = %(cost)s, realised_paise = %(realised)s,
    charges_paise = p.charges_paise + %(charges)s, updated_at = %(at)s,
    opened_at = CASE WHEN %(opens)s THEN %(at)s ELSE p.opened_at END
FROM posted WHERE p.id = %(position)s RETURNING p.id
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Booked:
    """The position after a fill, and what the fill earned before charges."""

    net_quantity: int
    realised_paise: int


def charge_segment(product: Product | str) -> ChargeSegment:
    """How a share of this product is charged."""
    return ChargeSegment.EQUITY_DELIVERY if product == Product.CNC else ChargeSegment.EQUITY_INTRADAY


@transaction.atomic
def book_fill(
    *,
    portfolio_id: int,
    instrument_id: int,
    product: str,
    side: Side,
    quantity: int,
    value_paise: int,
    charges: ChargeSheet,
    execution_key: str,
    filled_at: datetime,
) -> Booked | None:
    """Book one fill and what it cost. None if this execution was booked before.

    `charges` is what this fill adds to the charges of its order. `filled_at` is venue time.
    """
    position = _locked(portfolio_id, instrument_id, product)
    after = apply_fill(position.holding, side=side, quantity=quantity, value_paise=value_paise)
    price = to_rupees(round(value_paise / quantity))
    return _move(
        position, after, cash_paise=-side.sign * value_paise, charges=charges, execution_key=execution_key,
        memo=f"{side.value.title()} {quantity} {position.ticker} at {price}",
        charged=f"Charges on {side.value.lower()} {quantity} {position.ticker}", at=filled_at,
    )  # fmt: skip


@transaction.atomic
def unbook_fill(
    *,
    portfolio_id: int,
    instrument_id: int,
    product: str,
    side: Side,
    quantity: int,
    value_paise: int,
    charges: ChargeSheet,
    execution_key: str,
    taken_back_at: datetime,
    left: Callable[[], Iterable[tuple[Side, int, int]]],
) -> Booked | None:
    """Take one fill back, as if it had never been. None if it was taken back before.

    `left` tells all other fills of the position in the order in which they were booked; it is asked under the
    position's lock. What is held is what they make: an opposite fill at the same price would give cash and units back,
    and leave its difference from the average in the realised profit until the position is flat. `charges` is what the
    order pays less, so negative.
    """
    position = _locked(portfolio_id, instrument_id, product)
    price = to_rupees(round(value_paise / quantity))
    return _move(
        position, replay(left()), cash_paise=side.sign * value_paise, charges=charges, execution_key=execution_key,
        memo=f"Taken back: {side.value.lower()} {quantity} {position.ticker} at {price}",
        charged=f"Charges of what was taken back: {quantity} {position.ticker}", at=taken_back_at,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Held:
    """A position under its lock, as it is stored."""

    portfolio_id: int
    position_id: int
    holding: Holding
    ticker: str


def _locked(portfolio_id: int, instrument_id: int, product: str) -> _Held:
    names = {"portfolio": portfolio_id, "instrument": instrument_id, "product": str(product)}
    held = run(HELD, names)
    if not held:
        tell(BEGIN, names)
        held = run(HELD, names)
    ((position_id, net_quantity, cost_paise, realised_paise, symbol, segment),) = held
    holding = Holding(net_quantity, cost_paise, realised_paise)
    return _Held(portfolio_id, position_id, holding, ticker_of(symbol, segment=segment))


def _move(
    position: _Held, after: Holding, *, cash_paise: int, charges: ChargeSheet, execution_key: str, memo: str,
    charged: str, at: datetime,
) -> Booked | None:  # fmt: skip
    """Post what lies between a locked position and what it is to be. Cash, cost and profit add up, or nothing is."""
    before = position.holding
    earned = after.realised_paise - before.realised_paise
    amounts = balanced(f"fill:{execution_key}", {
        Account.CASH: cash_paise, Account.POSITIONS: after.cost_paise - before.cost_paise, Account.REALISED: -earned,
    })  # fmt: skip
    costs: dict[str, int] = {}
    if charges.total:
        lines: dict[str, int] = {CHARGE_ACCOUNTS[name]: paise for name, paise in charges.lines().items() if paise}
        costs = balanced(f"charges:{execution_key}", {**lines, Account.CASH: -charges.total})
    booked = run(BOOK, {
        "portfolio": position.portfolio_id, "key": execution_key, "at": at, "position": position.position_id,
        "memo": memo, "accounts": list(amounts), "amounts": list(amounts.values()),
        "cost_memo": charged, "cost_accounts": list(costs), "cost_amounts": list(costs.values()),
        "opens": before.net_quantity == 0, "net": after.net_quantity, "cost": after.cost_paise,
        "realised": after.realised_paise, "charges": charges.total,
    })  # fmt: skip
    return Booked(after.net_quantity, earned) if booked else None
