"""Double entry in paise: whatever moves money is one balanced transaction, and happens once."""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from trading.portfolio.models import LedgerEntry, LedgerTransaction, Portfolio

Account = LedgerEntry.Account


def balanced(key: str, amounts: Mapping[str, int]) -> dict[str, int]:
    """The amounts of one event, which cancel out: ValueError where they do not."""
    if off := sum(amounts.values()):
        raise ValueError(f"{key} is off by {off} paise")
    return {str(account): amount for account, amount in amounts.items()}


@transaction.atomic
def post(
    *,
    portfolio_id: int,
    key: str,
    kind: str,
    memo: str,
    occurred_at: datetime,
    amounts: Mapping[str, int],
) -> LedgerTransaction | None:
    """Post one event; None if its key is known already.

    `amounts` in signed paise by account, debit positive. Raises ValueError when they do not sum to zero; the database
    checks it again at the commit.
    """
    balanced(key, amounts)
    posted, is_new = LedgerTransaction.objects.get_or_create(
        portfolio_id=portfolio_id, key=key, defaults={"kind": kind, "memo": memo, "occurred_at": occurred_at}
    )
    if not is_new:
        return None
    LedgerEntry.objects.bulk_create(
        LedgerEntry(transaction=posted, account=account, amount_paise=amount)
        for account, amount in amounts.items()
        if amount
    )
    return posted


@transaction.atomic
def open_portfolio(
    *, owner, name: str, account, opening_cash_paise: int, now: datetime, approval_mode: str = "AUTOMATIC"
) -> Portfolio:
    """Start a portfolio with its first rupees in the ledger."""
    if opening_cash_paise <= 0:
        raise ValueError("a portfolio begins with some cash")
    portfolio = Portfolio.objects.create(
        owner=owner, name=name, account=account, opening_cash_paise=opening_cash_paise, approval_mode=approval_mode
    )
    post(
        portfolio_id=portfolio.pk,
        key="opening",
        kind=LedgerTransaction.Kind.OPENING,
        memo="Capital brought in",
        occurred_at=now,
        amounts={Account.CASH: opening_cash_paise, Account.CAPITAL: -opening_cash_paise},
    )
    return portfolio


def balance(portfolio_id: int, account: str) -> int:
    """Paise on one account of the ledger, summed from its entries."""
    entries = LedgerEntry.objects.filter(transaction__portfolio_id=portfolio_id, account=account)
    return entries.aggregate(total=Sum("amount_paise"))["total"] or 0
