"""What was compared with the broker, what was found, and what a person decided about it."""

from collections import Counter
from uuid import UUID

from django.db import models
from django.db.models import Q

from accounts.ownership import Owned, OwnedQuerySet
from execution.models.group import Group
from execution.models.order import Order
from trading.domain.formatting import rupees
from trading.domain.orders import Reason, Side


class ReconRun(Owned):
    """One comparison of an account with its broker. Written once, when it is over."""

    OWNER = "account__owner"

    class Cause(models.TextChoices):
        STARTUP = "STARTUP", "the engine started"
        PERIODIC = "PERIODIC", "its time had come"
        RECONNECT = "RECONNECT", "the order socket came back"
        BREAKER_CLOSED = "BREAKER_CLOSED", "the broker answers again"
        ASKED = "ASKED", "a person asked"

    class Outcome(models.TextChoices):
        CLEAN = "CLEAN", "both sides agree"
        HEALED = "HEALED", "what was missing here was taken over"
        WAITING = "WAITING", "a difference was seen once"
        QUARANTINED = "QUARANTINED", "a difference that nobody can explain"
        INVALID = "INVALID", "the broker's books could not be believed"

    account = models.ForeignKey("accounts.BrokerAccount", on_delete=models.CASCADE, related_name="recon_runs")
    cause = models.CharField(max_length=16, choices=Cause)
    outcome = models.CharField(max_length=12, choices=Outcome)
    trouble = models.CharField(max_length=240, blank=True, help_text="why the books were not believed")
    inputs_hash = models.CharField(max_length=32, blank=True, help_text="of the broker's books as they were read")
    orders = models.PositiveIntegerField(default=0)
    trades = models.PositiveIntegerField(default=0)
    positions = models.PositiveIntegerField(default=0)
    differences = models.JSONField(default=list)
    actions = models.JSONField(default=list)
    venue_at = models.DateTimeField(help_text="venue time")
    began_at = models.DateTimeField(help_text="wall time, like the next")
    ended_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "-id"], name="recon_newest")]

    def __str__(self) -> str:
        return f"{self.account} {self.outcome}"


class MismatchQuerySet(OwnedQuerySet["Mismatch"]):
    def holding_back(self, account_id: int, symbol: str) -> "MismatchQuerySet":
        """Differences for which nothing is entered in an instrument."""
        return self.filter(account_id=account_id, symbol=symbol, state__in=Mismatch.HELD_BACK)

    def forbidding_entry(self, account_id: int, symbol: str) -> "MismatchQuerySet":
        """As `holding_back`, and differences in the money, for which nothing at all is entered."""
        concerned = Q(symbol=symbol) | Q(kind=Mismatch.Kind.FUNDS)
        return self.filter(concerned, account_id=account_id, state__in=Mismatch.HELD_BACK)

    def most_to_close(self, account_id: int, symbol: str, product: str, side_sign: int) -> int | None:
        """Units that may be sent as ways out of a position whose quantity is in doubt; None where it is not.

        That is what the broker has. Beside an order that no row knows it is less by all that works on that side, the
        unknown order's own rest included, and a quantity that differs counts at its first sight.
        """
        kinds, watched = (Mismatch.Kind.POSITION, Mismatch.Kind.UNKNOWN_TAG), (Mismatch.State.SEEN, *Mismatch.HELD_BACK)
        rows = list(
            self.filter(account_id=account_id, symbol=symbol, product=product, kind__in=kinds, state__in=watched)
        )
        unknown = [row for row in rows if row.kind == Mismatch.Kind.UNKNOWN_TAG and row.is_held_back]
        doubted = next(
            (row for row in rows if row.kind == Mismatch.Kind.POSITION and (unknown or row.is_held_back)), None
        )
        if not unknown:
            return None if doubted is None else max(0, doubted.theirs * side_sign)
        missing = 0 if doubted is None else max(0, -doubted.difference * side_sign)
        works = sum(max(0, -row.working * side_sign) for row in unknown)
        return max(0, _held_less_exits(account_id, symbol, product, side_sign) - missing - works)


def _held_less_exits(account_id: int, symbol: str, product: str, side_sign: int) -> int:
    """What the open trades of one side hold by their rows now, less what their own ways out may still close."""
    held: Counter[UUID] = Counter()
    works = 0
    orders = Order.objects.filter(
        account=account_id, instrument__symbol=symbol, product=product
    ).exclude(group__state=Group.State.CLOSED)  # fmt: skip
    for order in orders:
        sign = Side(order.side).sign
        held[order.group_id] += sign * order.filled_quantity
        if sign != side_sign and order.reason != Reason.ENTRY and not order.is_final:
            works += max(order.quantity, order.pending_quantity or 0) - order.filled_quantity
    return sum(max(0, units * side_sign) for units in held.values()) - works


class Mismatch(Owned):
    """One thing in which the broker and the desk differ. While it is open nothing is entered in that instrument."""

    OWNER = "account__owner"

    class Kind(models.TextChoices):
        POSITION = "POSITION", "another quantity is held"
        FILL_GONE = "FILL_GONE", "a fill is not in the broker's trade book"
        UNKNOWN_TAG = "UNKNOWN_TAG", "an order carries our tag, and no row knows it"
        FUNDS = "FUNDS", "the broker counts the money otherwise"

    class State(models.TextChoices):
        SEEN = "SEEN", "seen once, waiting for a second look"
        OPEN = "OPEN", "in quarantine"
        DISPUTED = "DISPUTED", "in quarantine, taken up with the broker"
        ACCEPTED = "ACCEPTED", "a person said that it is right as it is"
        RESOLVED = "RESOLVED", "both sides agree again"

    HELD_BACK = (State.OPEN, State.DISPUTED)

    account = models.ForeignKey("accounts.BrokerAccount", on_delete=models.CASCADE, related_name="mismatches")
    kind = models.CharField(max_length=12, choices=Kind)
    symbol = models.CharField(max_length=60)
    product = models.CharField(max_length=16, blank=True)
    reference = models.CharField(max_length=120, blank=True, help_text="the fill or the broker's order in question")
    session_date = models.DateField()
    ours = models.BigIntegerField(help_text="units, signed; of money paise")
    theirs = models.BigIntegerField(help_text="units, signed; of money paise")
    working = models.BigIntegerField(
        default=0, db_default=0, help_text="units, signed, that an order no row knows may still trade"
    )
    state = models.CharField(max_length=10, choices=State, default=State.SEEN)
    first_seen_at = models.DateTimeField(help_text="wall time, like the next two")
    last_seen_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True)
    note = models.CharField(max_length=240, blank=True)

    objects = MismatchQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "symbol", "product", "reference"],
                condition=Q(state__in=["SEEN", "OPEN", "DISPUTED"]), name="mismatch_open_once",
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind}: {self.both_sides}"

    @property
    def both_sides(self) -> str:
        """The two numbers in words."""
        if self.kind == self.Kind.FUNDS:
            return f"{rupees(self.ours, symbol=True)} here, {rupees(self.theirs, symbol=True)} at the broker"
        return f"{self.ours} here, {self.theirs} at the broker"

    @property
    def difference(self) -> int:
        """Units, or paise, that the broker has and we do not."""
        return self.theirs - self.ours

    @property
    def is_held_back(self) -> bool:
        return self.state in self.HELD_BACK
