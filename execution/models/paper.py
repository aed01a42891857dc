"""What "the broker" knows of a paper account. The desk's own rows are others: the two are compared, not shared."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from execution.brokers.port import BrokerStatus, TriggerStatus
from trading.domain.orders import OrderType, Product, Side, Validity

_SIDES = [(side.value, side.value) for side in Side]
_PRODUCTS = [(product.value, product.value) for product in Product]


class PaperBook(Owned):
    """The book of one paper account. Whoever writes in it holds the lock of this row.

    `sequence` numbers whatever happens: orders, trades, and each change of an order, in the order of their commits.
    """

    OWNER = "account__owner"

    account = models.OneToOneField("accounts.BrokerAccount", on_delete=models.PROTECT, related_name="paper_book")
    opening_cash_paise = models.BigIntegerField(validators=[MinValueValidator(1)])
    cash_paise = models.BigIntegerField(help_text="as the session began: what earlier days came to, charges taken off")
    session_date = models.DateField(null=True, help_text="the exchange day whose orders and trades are in the book")
    sequence = models.PositiveBigIntegerField(default=0)
    slippage_bps = models.DecimalField(
        max_digits=6, decimal_places=2, default=Decimal(0), help_text="against every order at the market",
        validators=[MinValueValidator(0), MaxValueValidator(500)],
    )  # fmt: skip
    volume_share_pct = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True,
        help_text="of what trades, at most so much goes to this account; empty: an order is filled at once",
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(100)],
    )  # fmt: skip
    matched_through = models.DateTimeField(null=True, help_text="venue time up to which prices were looked at")
    opening_key = models.CharField(
        max_length=64, blank=True, db_default="", help_text="what makes a repeat of its opening the same wish"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(opening_cash_paise__gt=0), name="paper_book_begins_with_cash"),
            models.CheckConstraint(condition=Q(slippage_bps__gte=0), name="paper_slippage_is_never_luck"),
        ]

    def __str__(self) -> str:
        return f"the book of {self.account}"


class PaperOrder(Owned):
    """One order as the paper broker keeps it: prices in rupees a unit, instants in venue time."""

    OWNER = "book__account__owner"

    book = models.ForeignKey(PaperBook, on_delete=models.PROTECT, related_name="orders")
    number = models.CharField(max_length=20, unique=True)
    tag = models.CharField(max_length=30, blank=True, help_text="ours; one tag may stand on many orders")
    session_date = models.DateField()
    symbol = models.CharField(max_length=60)
    side = models.CharField(max_length=4, choices=_SIDES)
    product = models.CharField(max_length=8, choices=_PRODUCTS)
    order_type = models.CharField(max_length=10, choices=[(one.value, one.value) for one in OrderType])
    validity = models.CharField(max_length=3, choices=[(one.value, one.value) for one in Validity])
    quantity = models.PositiveBigIntegerField()
    limit_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    trigger_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    triggered = models.BooleanField(default=False, help_text="of a stop: its price was reached, it works as its kind")
    filled_quantity = models.PositiveBigIntegerField(default=0)
    fill_value = models.DecimalField(max_digits=20, decimal_places=4, default=Decimal(0), help_text="rupees")
    margin_price = models.DecimalField(
        max_digits=14, decimal_places=4, help_text="what an open unit is margined at: its limit, its trigger, the last"
    )
    status = models.CharField(max_length=10, choices=[(one.value, one.value) for one in BrokerStatus])
    message = models.CharField(max_length=240, blank=True)
    source = models.CharField(max_length=12, default="API", help_text="API, GTT, or BROKER for what it did by itself")
    placed_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    version = models.PositiveBigIntegerField(help_text="the book's sequence at its last change")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=0, filled_quantity__lte=models.F("quantity")),
                name="paper_order_never_overfills",
            )
        ]
        indexes = [
            models.Index(fields=["book", "session_date"], name="paper_orders_of_a_day"),
            models.Index(fields=["book", "version"], name="paper_order_news"),
            models.Index(fields=["book", "symbol"], condition=Q(status="PENDING"), name="paper_orders_working"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.side} {self.quantity} {self.symbol} {self.status}"

    @property
    def remaining_quantity(self) -> int:
        return self.quantity - self.filled_quantity

    @property
    def is_working(self) -> bool:
        return self.status == BrokerStatus.PENDING

    @property
    def average_price(self) -> Decimal | None:
        return round(self.fill_value / self.filled_quantity, 4) if self.filled_quantity else None


class PaperTrade(Owned):
    """One execution at the paper broker. Never changed."""

    OWNER = "order__book__account__owner"

    order = models.ForeignKey(PaperOrder, on_delete=models.PROTECT, related_name="trades")
    number = models.CharField(max_length=30, unique=True)
    quantity = models.PositiveBigIntegerField()
    price = models.DecimalField(max_digits=14, decimal_places=4)
    traded_at = models.DateTimeField(help_text="venue time")
    version = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0, price__gt=0), name="paper_trade_is_of_something")
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.quantity} at {self.price}"


class PaperHolding(Owned):
    """Shares that earlier days left, bought for delivery. `cost`: rupees paid for all of them."""

    OWNER = "book__account__owner"

    book = models.ForeignKey(PaperBook, on_delete=models.PROTECT, related_name="holdings")
    symbol = models.CharField(max_length=60)
    isin = models.CharField(max_length=12, blank=True)
    quantity = models.PositiveBigIntegerField()
    cost = models.DecimalField(max_digits=20, decimal_places=4)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "symbol"], name="paper_holding_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="paper_holding_is_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} {self.symbol}"


class PaperTrigger(Owned):
    """An order that waits at the paper broker for a price, over nights. `legs` rise: [trigger, limit, units]."""

    OWNER = "book__account__owner"

    book = models.ForeignKey(PaperBook, on_delete=models.PROTECT, related_name="triggers")
    number = models.CharField(max_length=20, unique=True)
    symbol = models.CharField(max_length=60)
    side = models.CharField(max_length=4, choices=_SIDES)
    product = models.CharField(max_length=8, choices=_PRODUCTS)
    legs = models.JSONField()
    last_price = models.DecimalField(max_digits=14, decimal_places=4, help_text="as the legs were set")
    status = models.CharField(max_length=10, choices=[(one.value, one.value) for one in TriggerStatus])
    message = models.CharField(max_length=240, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["book", "symbol"], condition=Q(status="ACTIVE"), name="paper_triggers_waiting")]

    def __str__(self) -> str:
        return f"{self.number} {self.side} {self.symbol} {self.status}"
