"""Everything that ever moved the positions of a portfolio, in the order in which it was booked."""

from collections.abc import Iterator

from execution.models import Fill, FillBust
from trading.domain.orders import Side
from trading.portfolio.booking import CHARGE_ACCOUNTS
from trading.portfolio.models import LedgerTransaction, Portfolio
from trading.portfolio.rebuild import Fact


def facts_of(portfolio: Portfolio) -> Iterator[Fact]:
    """Fills and the trades that were taken back, from the ledger's own sequence."""
    fills = {fill.execution_key: fill for fill in Fill.objects.filter(
        order__portfolio=portfolio
    ).select_related("order")}  # fmt: skip
    busts = {
        f"bust:{bust.fill.execution_key}"[:110]: bust.fill
        for bust in FillBust.objects.filter(fill__order__portfolio=portfolio).select_related("fill__order")
    }
    taken_back = {fill.execution_key for fill in busts.values()}
    charges = {
        posted.key.removeprefix("charges:"): sum(
            entry.amount_paise for entry in posted.entries.all() if entry.account in CHARGE_ACCOUNTS.values()
        )
        for posted in LedgerTransaction.objects.filter(
            portfolio=portfolio, kind=LedgerTransaction.Kind.CHARGES
        ).prefetch_related("entries")
    }  # fmt: skip
    posted = LedgerTransaction.objects.filter(portfolio=portfolio, kind=LedgerTransaction.Kind.FILL).order_by("pk")
    for key in posted.values_list("key", flat=True):
        name = key.removeprefix("fill:")
        fill = fills.get(name) or busts[name]
        order, side = fill.order, Side(fill.order.side)
        yield Fact(
            (order.instrument_id, order.product), side.opposite if name in busts else side, fill.quantity,
            fill.value_paise, charges.get(name, 0), counts=fill.execution_key not in taken_back,
        )  # fmt: skip
