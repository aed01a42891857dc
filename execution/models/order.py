"""The order row is the work: every step of it can be killed and is taken up again from here."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from accounts.ownership import Owned, OwnedQuerySet
from execution.states import LIVE_STATES, OrderState, PendingOp
from trading.domain.money import to_rupees
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.statements import Select, run, tell


class OrderQuerySet(OwnedQuerySet["Order"]):
    def live(self) -> "OrderQuerySet":
        """Orders that may still trade, as far as we know."""
        return self.filter(state__in=LIVE_STATES)

    def lock(self, order_id: int) -> "Order":
        """One order under a row lock; the caller is in a transaction.

        Its trade is locked before it. Everybody who needs both takes them in this order, so nobody waits in a circle.
        """
        tell(LOCK_TRADE, [order_id])
        return LOCKED.get([order_id])

    def lock_named(self, *, account_id: int, number: str, tag: str | None) -> "Order | None":
        """The order with the broker's number, else with our tag, under its lock."""
        found = run(NAMED, {"account": account_id, "number": number, "tag": tag or None})
        return self.lock(found[0][0]) if found else None


class Order(Owned):
    """One order given, or about to be given, to a broker."""

    OWNER = "portfolio__owner"

    client_order_id = models.CharField(max_length=20, help_text="sent to the broker as its tag")
    intent = models.ForeignKey("execution.Intent", on_delete=models.PROTECT, related_name="orders", db_index=False)
    child = models.PositiveSmallIntegerField(default=0, help_text="which of the orders of its intent, from 0")
    group = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="orders", db_index=False)
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", on_delete=models.PROTECT, related_name="orders", db_index=False
    )
    account = models.ForeignKey(
        "accounts.BrokerAccount", on_delete=models.PROTECT, related_name="orders", db_index=False
    )
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+", db_index=False)
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product])
    order_type = models.CharField(max_length=10, choices=[(t, t) for t in OrderType])
    reason = models.CharField(max_length=12, choices=[(r, r) for r in Reason])
    quantity = models.PositiveBigIntegerField()
    limit_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    trigger_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)

    state = models.CharField(max_length=12, choices=[(s, s) for s in OrderState], default=OrderState.QUEUED)
    pending_op = models.CharField(max_length=16, choices=[(p, p) for p in PendingOp], default=PendingOp.NONE)
    pending_quantity = models.PositiveBigIntegerField(null=True, help_text="asked for by a modification under way")
    pending_limit_price = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, help_text="the same: rupees a unit"
    )
    pending_trigger_price = models.DecimalField(
        max_digits=14, decimal_places=4, null=True, help_text="the same: of a stop that waits"
    )
    filled_quantity = models.PositiveBigIntegerField(default=0)
    fill_value_paise = models.BigIntegerField(default=0)
    charges_paise = models.BigIntegerField(default=0)

    broker_order_id = models.CharField(max_length=40, null=True)
    broker_message = models.CharField(max_length=240, blank=True)
    broker_updated_at = models.DateTimeField(null=True)

    valid_until = models.DateTimeField(help_text="wall time after which it must not be sent any more")
    kill_epoch = models.PositiveBigIntegerField(help_text="sum of the epochs it was approved under")
    claim_token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    unknown_since = models.DateTimeField(null=True)
    absent_books = models.PositiveIntegerField(default=0, help_text="complete books that did not show it")
    next_probe_at = models.DateTimeField(null=True)
    cancel_asked_at = models.DateTimeField(null=True)

    lot_relief = models.JSONField(default=list, help_text="[execution, units] that an exit gives up, in this order")

    decision_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    arrival_price = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    placed_at = models.DateTimeField(help_text="venue time of the decision")
    created_at = models.DateTimeField(help_text="wall time, like the next four")
    sent_at = models.DateTimeField(null=True)
    acked_at = models.DateTimeField(null=True)
    first_fill_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    objects = OrderQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["client_order_id"], name="order_named_once"),
            models.UniqueConstraint(fields=["intent", "child"], name="order_child_once"),
            models.UniqueConstraint(
                fields=["account", "broker_order_id"],
                condition=Q(broker_order_id__isnull=False),
                name="broker_order_bound_once",
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="order_quantity_positive"),
            models.CheckConstraint(
                condition=~Q(order_type__in=["LIMIT", "STOP_LIMIT"]) | Q(limit_price__gt=0), name="order_has_its_limit"
            ),
            models.CheckConstraint(
                condition=~Q(order_type__in=["STOP", "STOP_LIMIT"]) | Q(trigger_price__gt=0),
                name="order_has_its_trigger",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "id"], condition=Q(state="QUEUED"), name="order_outbox"),
            models.Index(
                fields=["account", "instrument"],
                condition=Q(state__in=sorted(map(str, LIVE_STATES))),
                name="order_working",
            ),
            models.Index(fields=["account", "placed_at"], name="order_of_account_by_day"),
            models.Index(fields=["group", "state"], name="order_by_group"),
            models.Index(fields=["portfolio", "-id"], name="order_newest"),
            models.Index(fields=["portfolio", "placed_at"], name="order_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} {self.instrument} {self.state}"

    def take_change(self) -> None:
        """What was asked for is how it works at the broker from now on; the caller says what is under way still."""
        self.quantity = self.pending_quantity or self.quantity
        self.limit_price = self.pending_limit_price or self.limit_price
        self.trigger_price = self.pending_trigger_price or self.trigger_price
        self.forget_change()

    def forget_change(self) -> None:
        self.pending_quantity = self.pending_limit_price = self.pending_trigger_price = None

    @property
    def furthest_price(self) -> Decimal | None:
        """The dearest limit it has, may get, or was approved with, rupees a unit; None: it has no limit."""
        known = (self.intent.limit_price, self.limit_price, self.pending_limit_price)
        return max((price for price in known if price is not None), default=None)

    @property
    def remaining_quantity(self) -> int:
        return max(0, self.quantity - self.filled_quantity)

    @property
    def is_final(self) -> bool:
        return self.state not in LIVE_STATES

    @property
    def average_price(self):
        """Rupees a unit over all fills, for display; None before the first."""
        return to_rupees(round(self.fill_value_paise / self.filled_quantity)) if self.filled_quantity else None


class OrderEvent(Owned):
    """One thing that was said about an order, whether or not it changed anything. Append-only."""

    OWNER = "order__portfolio__owner"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events", db_index=False)
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=32)
    source = models.CharField(max_length=16, help_text="ENGINE, SOCKET, BOOK, USER, RISK")
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    applied = models.BooleanField(default=True)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(help_text="wall time")

    class Meta:
        ordering = ["order", "seq"]
        constraints = [models.UniqueConstraint(fields=["order", "seq"], name="order_event_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.from_state}→{self.to_state}"


NAMED = """
SELECT id FROM execution_order
WHERE account_id = %(account)s AND (broker_order_id = %(number)s OR client_order_id = %(tag)s::text)
ORDER BY broker_order_id = %(number)s DESC NULLS LAST LIMIT 1
"""
LOCK_TRADE = """
SELECT id FROM execution_group WHERE id = (SELECT group_id FROM execution_order WHERE id = %s) FOR UPDATE
"""
LOCKED = Select(Order, "instrument", "portfolio", "account", "group", where="WHERE t.id = %s FOR UPDATE OF t")
