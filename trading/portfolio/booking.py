"""A fill becomes position and ledger, once and together. Nothing else moves either."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from trading.domain.money import to_rupees
from trading.domain.orders import Product, Side
from trading.portfolio.ledger import Account, post
from trading.portfolio.models import LedgerTransaction, Position
from trading.portfolio.positions import Holding, apply_fill, replay
from trading.venue.charges import ChargeSegment, ChargeSheet

CHARGE_ACCOUNTS = {
    "brokerage": Account.BROKERAGE, "stt": Account.STT, "exchange": Account.EXCHANGE, "sebi": Account.SEBI,
    "stamp": Account.STAMP, "gst": Account.GST, "ipft": Account.IPFT, "dp": Account.DP,
}  # fmt: skip


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
    after = apply_fill(_holding_of(position), side=side, quantity=quantity, value_paise=value_paise)
    price = to_rupees(round(value_paise / quantity))
    return _move(
        position, after, cash_paise=-side.sign * value_paise, charges=charges, execution_key=execution_key,
        memo=f"{side.value.title()} {quantity} {position.instrument.ticker} at {price}",
        charged=f"Charges on {side.value.lower()} {quantity} {position.instrument.ticker}", at=filled_at,
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
        memo=f"Taken back: {side.value.lower()} {quantity} {position.instrument.ticker} at {price}",
        charged=f"Charges of what was taken back: {quantity} {position.instrument.ticker}", at=taken_back_at,
    )  # fmt: skip


def _locked(portfolio_id: int, instrument_id: int, product: str) -> Position:
    Position.objects.get_or_create(portfolio_id=portfolio_id, instrument_id=instrument_id, product=product)
    return (
        Position.objects.select_for_update(of=("self",))
        .select_related("instrument")
        .get(portfolio_id=portfolio_id, instrument_id=instrument_id, product=product)
    )


def _holding_of(position: Position) -> Holding:
    return Holding(position.net_quantity, position.cost_paise, position.realised_paise)


def _move(
    position: Position, after: Holding, *, cash_paise: int, charges: ChargeSheet, execution_key: str, memo: str,
    charged: str, at: datetime,
) -> Booked | None:  # fmt: skip
    """Post what lies between a locked position and what it is to be. Cash, cost and profit add up, or nothing is."""
    before = _holding_of(position)
    earned = after.realised_paise - before.realised_paise
    posted = post(
        portfolio_id=position.portfolio_id,
        key=f"fill:{execution_key}",
        kind=LedgerTransaction.Kind.FILL,
        memo=memo,
        occurred_at=at,
        amounts={
            Account.CASH: cash_paise,
            Account.POSITIONS: after.cost_paise - before.cost_paise,
            Account.REALISED: -earned,
        },
    )
    if posted is None:
        return None
    if charges.total:
        lines: dict[str, int] = {CHARGE_ACCOUNTS[name]: paise for name, paise in charges.lines().items() if paise}
        post(
            portfolio_id=position.portfolio_id,
            key=f"charges:{execution_key}",
            kind=LedgerTransaction.Kind.CHARGES,
            memo=charged,
            occurred_at=at,
            amounts={**lines, Account.CASH: -charges.total},
        )
    if before.net_quantity == 0:
        position.opened_at = at
    position.net_quantity = after.net_quantity
    position.cost_paise = after.cost_paise
    position.realised_paise = after.realised_paise
    position.charges_paise += charges.total
    position.updated_at = at
    position.save()
    return Booked(after.net_quantity, earned)
