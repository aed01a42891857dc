"""Doors for alerts of other programs: the hook, what its symbols mean here, and everything that came in by it."""

import hashlib
import ipaddress
import uuid
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse

from accounts.ownership import Owned
from trading.domain.orders import Product

MOST_ADDRESSES = 100
# Refusals before the sender had proved itself: what came so is never run again.
UNPROVEN = frozenset(
    ["SECRET_WRONG", "SECRET_MISSING", "SIGNATURE_WRONG", "SIGNATURE_MISSING", "ADDRESS_NOT_ALLOWED", "NOT_THE_OWNER",
     "PLAIN_TEXT", "NOT_UTF8", "MALFORMED_JSON", "RATE_LIMITED"]
)  # fmt: skip


class Hook(Owned):
    """One address at which alerts for one portfolio arrive. Its id is public, its secret is sealed and shown once.

    After a rotation the old secret opens until `old_secret_until`, so that what sends can be changed in peace.
    """

    OWNER = "portfolio__owner"
    SEALED = (("secret_sealed", "hook:{pk}"), ("old_secret_sealed", "hook:{pk}"))

    class Authentication(models.TextChoices):
        SECRET = "SECRET", "the secret in the body"
        HMAC = "HMAC", "a signature of the body"
        EITHER = "EITHER", "secret or signature"
        BOTH = "BOTH", "secret and signature"

    class Action(models.TextChoices):
        BUY = "BUY", "buy"
        SELL = "SELL", "sell"
        EXIT = "EXIT", "close what is held"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="hooks")
    name = models.CharField(max_length=60)
    secret_sealed = models.BinaryField()
    old_secret_sealed = models.BinaryField(null=True, blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True, help_text="wall time; empty: there is no old one")
    authentication = models.CharField(max_length=6, choices=Authentication, default=Authentication.EITHER)
    secret_in_address = models.BooleanField(
        default=False, help_text="take the secret from ?secret= too: for senders that can write nothing of their own"
    )
    max_age_s = models.PositiveIntegerField(
        default=120, validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="seconds; an alert that is older is refused",
    )  # fmt: skip
    allowed_addresses = models.JSONField(
        default=list, blank=True, help_text="IP addresses or networks (CIDR) that may send; none: all"
    )
    rate_per_minute = models.PositiveIntegerField(
        default=120, validators=[MinValueValidator(1), MaxValueValidator(60_000)], help_text="alerts in a minute"
    )
    enabled = models.BooleanField(default=True)
    product = models.CharField(max_length=8, choices=[(p, p) for p in Product], default=Product.INTRADAY)
    ladder = models.ForeignKey(
        "execution.LadderPlan", null=True, blank=True, on_delete=models.PROTECT, related_name="+",
        help_text="how its trades are built up; empty: as the engine's settings say",
    )  # fmt: skip
    timeframe = models.CharField(max_length=8, blank=True, help_text="of alerts that name none, such as 15m")
    default_action = models.CharField(
        max_length=4, choices=Action, blank=True, help_text="of alerts that name none, as those of a screener"
    )
    created_at = models.DateTimeField(help_text="wall time")
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "name"], name="hook_name_once_per_portfolio")]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        """Where alerts go, without the host."""
        return reverse("hook", args=[self.pk])

    @property
    def secret_mark(self) -> str:
        """Tells the present secret from the one before, and says nothing of either."""
        return hashlib.sha256(self.secret_sealed).hexdigest()[:16]

    def clean(self) -> None:
        listed = self.allowed_addresses
        if not isinstance(listed, list) or len(listed) > MOST_ADDRESSES:
            raise ValidationError({"allowed_addresses": f"A list of {MOST_ADDRESSES} addresses at most."})
        for one in listed:
            try:
                ipaddress.ip_network(one if isinstance(one, str) else "", strict=False)
            except ValueError:
                wrong = f"{str(one)[:60]!r} is neither an IP address nor a network such as 52.32.178.0/24."
                raise ValidationError({"allowed_addresses": wrong}) from None
        if self.ladder_id and self.ladder is not None and self.ladder.portfolio_id not in (None, self.portfolio_id):
            raise ValidationError({"ladder": "That ladder belongs to another portfolio."})

    def lets_in(self, address: str) -> bool:
        """Whether this sender may knock: every one where no list is kept, none that is no address at all."""
        if not self.allowed_addresses:
            return True
        try:
            sender: Any = ipaddress.ip_address(address)
        except ValueError:
            return False
        sender = getattr(sender, "ipv4_mapped", None) or sender
        return any(sender in ipaddress.ip_network(one, strict=False) for one in self.allowed_addresses)


class HookSymbol(Owned):
    """What a name of the outside means here, for all hooks of one portfolio. An empty exchange: whichever it is."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="hook_symbols")
    exchange = models.CharField(max_length=20, blank=True)
    symbol = models.CharField(max_length=60)
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(help_text="wall time")
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["symbol", "exchange"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "exchange", "symbol"], name="hook_symbol_once")]

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}" if self.exchange else self.symbol


class Delivery(Owned):
    """One alert that came in, as it came, with every secret masked, and what became of it.

    `first`: it holds its `key`; a copy of it is answered from here. There is one such row a hook and key, by a
    constraint of the database: of many copies at once one trades.
    """

    OWNER = "hook__portfolio__owner"

    class Outcome(models.TextChoices):
        ACCEPTED = "ACCEPTED", "became a signal"
        REPEATED = "REPEATED", "was a copy"
        REFUSED = "REFUSED", "was refused"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    hook = models.ForeignKey(Hook, on_delete=models.PROTECT, related_name="deliveries")
    received_at = models.DateTimeField(help_text="wall time")
    remote_ip = models.GenericIPAddressField(null=True)
    dialect = models.CharField(max_length=12, blank=True)
    body = models.TextField(blank=True, help_text="as it came, secrets masked")
    key = models.CharField(max_length=80, blank=True, help_text="what makes a copy a copy")
    body_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the body as it came")
    first = models.BooleanField(default=False, help_text="it holds its key")
    outcome = models.CharField(max_length=8, choices=Outcome)
    status = models.PositiveSmallIntegerField(help_text="of the HTTP answer")
    code = models.CharField(max_length=40, blank=True)
    detail = models.CharField(max_length=400, blank=True)
    errors = models.JSONField(default=list, help_text="field, code and sentence of each thing that was wrong")
    answer = models.JSONField(default=dict, help_text="what the sender was told")
    duration_ms = models.FloatField(default=0, help_text="until it was stored")
    signals = models.ManyToManyField("strategies.Signal", related_name="deliveries")
    replay_of = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="replays")
    replayed_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-received_at"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["hook", "key"], condition=Q(first=True), name="delivery_key_once")
        ]
        indexes = [models.Index(fields=["hook", "-received_at"], name="delivery_newest")]

    def __str__(self) -> str:
        return f"{self.hook} {self.received_at:%Y-%m-%d %H:%M:%S}"

    @property
    def can_be_replayed(self) -> bool:
        """Its sender had proved itself, and its body was kept."""
        return bool(self.body) and self.code not in UNPROVEN

    def is_younger_than(self, seconds: float, *, wall: datetime) -> bool:
        return (wall - self.received_at).total_seconds() < seconds
