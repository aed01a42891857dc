"""What we own. Positions and the ledger move together, on fills alone."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.ownership import Owned
from trading.domain.money import to_rupees
from trading.domain.orders import Product


class Portfolio(Owned):
    """Capital that one person has put to work at one broker account."""

    class ApprovalMode(models.TextChoices):
        AUTOMATIC = "AUTOMATIC"
        MANUAL = "MANUAL"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="portfolios")
    name = models.CharField(max_length=60)
    account = models.ForeignKey("accounts.BrokerAccount", on_delete=models.PROTECT, related_name="portfolios")
    opening_cash_paise = models.BigIntegerField()
    approval_mode = models.CharField(max_length=10, choices=ApprovalMode, default=ApprovalMode.AUTOMATIC)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="portfolio_name_once_per_owner")]

    def __str__(self) -> str:
        return self.name


class Position(Owned):
    """The sum of the fills of one instrument and product. Cost is kept as a total: averages lose paise."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(Portfolio, on_delete=models.PROTECT, related_name="positions")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product])
    net_quantity = models.BigIntegerField(default=0, help_text="units, signed")
    cost_paise = models.BigIntegerField(default=0, help_text="signed like the quantity")
    realised_paise = models.BigIntegerField(default=0, help_text="before charges")
    charges_paise = models.BigIntegerField(default=0)
    opened_at = models.DateTimeField(null=True, help_text="venue time of the fill that opened it")
    updated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["portfolio", "instrument", "product"], name="position_once"),
            models.CheckConstraint(
                condition=Q(net_quantity=0, cost_paise=0)
                | Q(net_quantity__gt=0, cost_paise__gt=0)
                | Q(net_quantity__lt=0, cost_paise__lt=0),
                name="position_cost_follows_quantity",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.net_quantity} {self.instrument}"

    @property
    def average_price(self):
        """Rupees a unit, for display only; None when flat."""
        if not self.net_quantity:
            return None
        return to_rupees(round(self.cost_paise / self.net_quantity))


class LedgerTransaction(Owned):
    """One event that moved money. Its entries sum to zero; the key makes it happen once."""

    OWNER = "portfolio__owner"

    class Kind(models.TextChoices):
        OPENING = "OPENING"
        FILL = "FILL"
        CHARGES = "CHARGES"
        ADJUSTMENT = "ADJUSTMENT"

    portfolio = models.ForeignKey(Portfolio, on_delete=models.PROTECT, related_name="ledger")
    key = models.CharField(max_length=120)
    kind = models.CharField(max_length=12, choices=Kind)
    memo = models.CharField(max_length=200)
    occurred_at = models.DateTimeField(help_text="venue time")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "key"], name="ledger_event_once")]
        indexes = [models.Index(fields=["portfolio", "occurred_at"], name="ledger_by_day")]

    def __str__(self) -> str:
        return self.memo


class LedgerEntry(Owned):
    """One leg of a transaction: debit positive, credit negative, whole paise. Never edited."""

    OWNER = "transaction__portfolio__owner"

    class Account(models.TextChoices):
        CASH = "CASH"
        CAPITAL = "CAPITAL"
        POSITIONS = "POSITIONS", "Positions at cost"
        REALISED = "REALISED", "Realised profit and loss"
        BROKERAGE = "BROKERAGE"
        STT = "STT", "Securities transaction tax"
        EXCHANGE = "EXCHANGE", "Exchange transaction charge"
        SEBI = "SEBI", "SEBI fee"
        STAMP = "STAMP", "Stamp duty"
        GST = "GST"
        IPFT = "IPFT"
        DP = "DP", "Depository charge"

    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    account = models.CharField(max_length=12, choices=Account)
    amount_paise = models.BigIntegerField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "ledger entries"
        indexes = [models.Index(fields=["account"], name="ledger_by_account")]

    def __str__(self) -> str:
        return f"{self.account} {to_rupees(self.amount_paise)}"


class ClosedTrade(Owned):
    """A round trip, from the first fill that opened it to the last that closed it: the journal's page."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(Portfolio, on_delete=models.PROTECT, related_name="closed_trades")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    group_ref = models.UUIDField(unique=True, default=uuid.uuid4)
    contract_ref = models.CharField(max_length=80, blank=True, help_text="contract name and version that had the idea")
    side = models.CharField(max_length=4)
    quantity = models.PositiveBigIntegerField()
    entry_value_paise = models.BigIntegerField()
    exit_value_paise = models.BigIntegerField()
    gross_paise = models.BigIntegerField()
    charges_paise = models.BigIntegerField()
    exit_reason = models.CharField(max_length=12)
    explanation = models.TextField(blank=True)
    notes = models.TextField(blank=True)
    opened_at = models.DateTimeField(help_text="venue time")
    closed_at = models.DateTimeField(help_text="venue time")

    class Meta:
        ordering = ["-closed_at", "-id"]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} {self.instrument}"

    @property
    def net_paise(self) -> int:
        return self.gross_paise - self.charges_paise

    @property
    def entry_price(self):
        return to_rupees(round(self.entry_value_paise / self.quantity))

    @property
    def exit_price(self):
        return to_rupees(round(self.exit_value_paise / self.quantity))


class EquityPoint(Owned):
    """What a portfolio was worth at one instant."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(Portfolio, on_delete=models.CASCADE, related_name="equity_points")
    at = models.DateTimeField(help_text="venue time")
    session_date = models.DateField()
    equity_paise = models.BigIntegerField()
    day_pnl_paise = models.BigIntegerField()

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "at"], name="equity_point_once")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {to_rupees(self.equity_paise)}"


class TradingDay(Owned):
    """The worth of a portfolio when a session began: the day's profit and loss is measured from it."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(Portfolio, on_delete=models.CASCADE, related_name="days")
    session_date = models.DateField()
    opening_equity_paise = models.BigIntegerField()

    class Meta:
        ordering = ["-session_date"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "session_date"], name="trading_day_once")]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.session_date}"


class Watchlist(Owned):
    """A named list of instruments that one person looks at, in the order they chose."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="watchlists")
    name = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(Lower("name"), "owner", name="watchlist_name_once_per_owner")]

    def __str__(self) -> str:
        return self.name


class WatchlistItem(Owned):
    """One instrument's place in a watchlist. Places only order the rows: they may have holes."""

    OWNER = "watchlist__owner"

    watchlist = models.ForeignKey(Watchlist, on_delete=models.CASCADE, related_name="items")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    place = models.PositiveIntegerField()

    class Meta:
        ordering = ["place", "id"]
        constraints = [models.UniqueConstraint(fields=["watchlist", "instrument"], name="watched_once_per_list")]

    def __str__(self) -> str:
        return f"{self.instrument} in {self.watchlist}"


class ChartSettings(Owned):
    """How one person looks at charts: timeframe, stretch of time, and the indicators drawn, each with its constants."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="chart_settings"
    )
    timeframe = models.PositiveSmallIntegerField(default=5, help_text="minutes; 1440 is a day")
    span = models.CharField(max_length=4, default="5d")
    indicators = models.JSONField(default=list, help_text='[["ema", [20]], …]: names of the registry, constants')

    class Meta:
        verbose_name_plural = "chart settings"

    def __str__(self) -> str:
        return f"Charts of {self.owner}"
