"""The contract note has the last word on charges: what was estimated is corrected by an entry of its own."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.db.models import Sum

from trading.audit.record import record
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed, NotFound
from trading.domain.money import to_paise
from trading.portfolio.booking import CHARGE_ACCOUNTS
from trading.portfolio.ledger import Account, post
from trading.portfolio.models import LedgerEntry, LedgerTransaction, Portfolio
from trading.venue.charges import ChargeSheet


@transaction.atomic
def true_up_charges(
    *, portfolio_id: int, day: date, note: ChargeSheet, reference: str, actor: str, now: datetime
) -> LedgerTransaction | None:
    """Make a day's charges what its contract note says. None where they are already, or this note was used before.

    `note` in paise, line by line; `reference` is the number on the note. `now` is venue time.
    """
    portfolio = Portfolio.objects.select_for_update().filter(pk=portfolio_id).first()
    if portfolio is None:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    booked = booked_charges(portfolio_id, day)
    wanted = {CHARGE_ACCOUNTS[name]: paise for name, paise in note.lines().items()}
    off = {account: wanted.get(account, 0) - booked.get(account, 0) for account in CHARGE_ACCOUNTS.values()}
    amounts: dict[str, int] = {account: paise for account, paise in off.items() if paise}
    if not amounts:
        return None
    posted = post(
        portfolio_id=portfolio_id, key=f"true-up:{day}:{reference}"[:120], kind=LedgerTransaction.Kind.ADJUSTMENT,
        memo=f"Charges of {day} as on contract note {reference}"[:200], occurred_at=_on(day, now),
        amounts={**amounts, Account.CASH: -sum(amounts.values())},
    )  # fmt: skip
    if posted is not None:
        record(
            "charges.trued_up", actor=actor, owner_id=portfolio.owner_id, subject=str(portfolio.pk), day=str(day),
            reference=reference, paise=sum(amounts.values()),
        )  # fmt: skip
    return posted


def note_of(lines: Mapping[str, object]) -> ChargeSheet:
    """A contract note's lines, rupees by name; what is left out is nothing.

    NotAllowed (CONTRACT_NOTE) for a line there is none of, or what is no amount of rupees.
    """
    paise = {}
    for name, given in lines.items():
        if name not in CHARGE_ACCOUNTS:
            raise NotAllowed("CONTRACT_NOTE", f"A contract note has no line {name[:40]}: {', '.join(CHARGE_ACCOUNTS)}.")
        try:
            amount = Decimal(str(given))
        except InvalidOperation as error:
            raise NotAllowed("CONTRACT_NOTE", f"{name}: {str(given)[:40]} is no amount of rupees.") from error
        if not amount.is_finite() or not 0 <= amount < 10_000_000:
            raise NotAllowed("CONTRACT_NOTE", f"{name}: charges lie between nothing and a crore of rupees.")
        paise[name] = to_paise(amount)
    return ChargeSheet(**paise)


def booked_lines(portfolio_id: int, day: date) -> dict[str, int]:
    """The same by the lines of a note: what the note is compared with, paise."""
    booked = booked_charges(portfolio_id, day)
    return {name: booked.get(account, 0) for name, account in CHARGE_ACCOUNTS.items()}


def booked_charges(portfolio_id: int, day: date) -> dict[str, int]:
    """Paise by account: what the ledger has for a day, earlier corrections of it included."""
    midnight = datetime.combine(day, datetime.min.time(), tzinfo=IST)
    rows = (
        LedgerEntry.objects.filter(
            transaction__portfolio_id=portfolio_id, account__in=CHARGE_ACCOUNTS.values(),
            transaction__occurred_at__gte=midnight,
            transaction__occurred_at__lt=midnight.replace(hour=23, minute=59, second=59, microsecond=999_999),
        )
        .values_list("account").annotate(total=Sum("amount_paise")).order_by()
    )  # fmt: skip
    return dict(rows)


def _on(day: date, now: datetime) -> datetime:
    """The correction belongs to the day that it corrects: its last minute, or now while it lasts."""
    end = datetime.combine(day, datetime.min.time(), tzinfo=IST).replace(hour=23, minute=59)
    return min(end, now) if now.astimezone(IST).date() == day else end
