"""A paper account, from nothing: its row, its book and the portfolio that trades on it."""

from decimal import Decimal, InvalidOperation

from django.db import transaction

from accounts.models import BrokerAccount, User
from execution.models import PaperBook
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.money import to_paise
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed
from trading.portfolio.ledger import open_portfolio
from trading.portfolio.models import Portfolio

LEAST, MOST = Decimal(1_000), Decimal(1_000_000_000)
MOST_SLIPPAGE_BPS = Decimal(500)


def price_sources_of(user: User) -> list[BrokerAccount]:
    """Accounts of a person whose connection can bring the prices of a paper account."""
    replays = Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")
    mine = BrokerAccount.objects.for_user(user).filter(price_source=None).exclude(feed__in=replays)
    return list(mine.order_by("environment", "name"))


def open_paper_account(
    *, owner: User, name: str, price_source_id: int, opening_cash: Decimal, slippage_bps: Decimal = Decimal(0),
    volume_share_pct: Decimal | None = None, key: str = "",
) -> Portfolio:  # fmt: skip
    """A paper account on the prices of another account of the same person, with a portfolio of its name.

    Asked again with the same key it is the one that was opened. NotFound NO_SUCH_ACCOUNT for a source that is not
    the person's; Conflict ACCOUNT_EXISTS; NotAllowed ACCOUNT_NAME, PAPER_SOURCE, PAPER_CASH, PAPER_SLIPPAGE,
    PAPER_SHARE for what cannot be.
    """
    name = name.strip()
    if not name or len(name) > 60:
        raise NotAllowed("ACCOUNT_NAME", "Give the account a name of at most 60 characters.")
    _within("PAPER_CASH", "The opening cash", opening_cash, LEAST, MOST)
    _within("PAPER_SLIPPAGE", "The slippage in basis points", slippage_bps, Decimal(0), MOST_SLIPPAGE_BPS)
    if volume_share_pct is not None:
        _within("PAPER_SHARE", "The share of the volume in percent", volume_share_pct, Decimal("0.01"), Decimal(100))
    source = BrokerAccount.objects.for_user(owner).filter(pk=price_source_id).first()
    if source is None:
        raise NotFound("NO_SUCH_ACCOUNT", "Choose one of your accounts as the source of the prices.")
    if source not in price_sources_of(owner):
        raise NotAllowed("PAPER_SOURCE", f"{source.name} has no prices of its own: choose an account at a broker.")
    with transaction.atomic():
        list(User.objects.select_for_update().filter(pk=owner.pk))  # two presses at once are one after the other
        known = BrokerAccount.objects.for_user(owner).filter(name=name, paper_book__opening_key=key).first()
        if key and known is not None:  # whoever asked never heard that it was done
            return Portfolio.objects.get(account=known, name=name)
        taken = BrokerAccount.objects.for_user(owner).filter(name=name).exists()
        if taken or Portfolio.objects.for_user(owner).filter(name=name).exists():
            raise Conflict("ACCOUNT_EXISTS", f"You have an account or a portfolio named {name} already.")
        account = BrokerAccount.objects.create(
            owner=owner, name=name, broker=source.broker, environment=BrokerAccount.Environment.PAPER,
            feed=source.feed, price_source=source, auth_state=source.auth_state, auth_cause=source.auth_cause,
        )  # fmt: skip
        cash_paise = to_paise(opening_cash)
        PaperBook.objects.create(
            account=account, opening_cash_paise=cash_paise, cash_paise=cash_paise, slippage_bps=slippage_bps,
            volume_share_pct=volume_share_pct, opening_key=key,
        )  # fmt: skip
        portfolio = open_portfolio(
            owner=owner, name=name, account=account, opening_cash_paise=cash_paise, now=venue_now(source.feed)
        )
        record(
            "account.paper_opened", actor=owner.get_username(), owner_id=owner.pk, subject=str(account),
            price_source=source.name, opening_cash=str(opening_cash),
        )  # fmt: skip
    return portfolio


def rupees_of(said: str, *, code: str, what: str) -> Decimal:
    """A number as a person writes it: 10,00,000 is a million."""
    try:
        found = Decimal(said.replace(",", "").replace("₹", "").strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise NotAllowed(code, f"{what} is a number.")
    return found


def _within(code: str, what: str, value: Decimal, least: Decimal, most: Decimal) -> None:
    if not (value.is_finite() and least <= value <= most and value == round(value, 2)):
        raise NotAllowed(code, f"{what} is between {least:,} and {most:,}, to two decimals.")
