"""A fill becomes position and ledger, once and together. Nothing else moves either."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from trading.domain.money import to_rupees
from trading.domain.orders import Product, Side
from trading.portfolio.ledger import Account, post
from trading.portfolio.models import LedgerTransaction, Position
from trading.portfolio.positions import Holding, apply_fill
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
    Position.objects.get_or_create(portfolio_id=portfolio_id, instrument_id=instrument_id, product=product)
    position = (
        Position.objects.select_for_update(of=("self",))
        .select_related("instrument")
        .get(portfolio_id=portfolio_id, instrument_id=instrument_id, product=product)
    )
    before = Holding(position.net_quantity, position.cost_paise, position.realised_paise)
    after = apply_fill(before, side=side, quantity=quantity, value_paise=value_paise)
    earned = after.realised_paise - before.realised_paise
    price = to_rupees(round(value_paise / quantity))
    posted = post(
        portfolio_id=portfolio_id,
        key=f"fill:{execution_key}",
        kind=LedgerTransaction.Kind.FILL,
        memo=f"{side.value.title()} {quantity} {position.instrument.ticker} at {price}",
        occurred_at=filled_at,
        amounts={
            Account.CASH: -side.sign * value_paise,
            Account.POSITIONS: after.cost_paise - before.cost_paise,
            Account.REALISED: -earned,
        },
    )
    if posted is None:
        return None
    if charges.total:
        lines: dict[str, int] = {CHARGE_ACCOUNTS[name]: paise for name, paise in charges.lines().items() if paise}
        post(
            portfolio_id=portfolio_id,
            key=f"charges:{execution_key}",
            kind=LedgerTransaction.Kind.CHARGES,
            memo=f"Charges on {side.value.lower()} {quantity} {position.instrument.ticker}",
            occurred_at=filled_at,
            amounts={**lines, Account.CASH: -charges.total},
        )
    if before.net_quantity == 0:
        position.opened_at = filled_at
    position.net_quantity = after.net_quantity
    position.cost_paise = after.cost_paise
    position.realised_paise = after.realised_paise
    position.charges_paise += charges.total
    position.updated_at = filled_at
    position.save()
    return Booked(after.net_quantity, earned)
