import uuid

from django.db import models

from accounts.ownership import Owned
from trading.domain.orders import Product, Side


class Signal(Owned):
    """An opinion about one instrument, in words and numbers: of a contract at a bar close, or of a hook's alert.

    `kind` says what is to be done: open or add (ENTRY), close (EXIT), close a part (REDUCE), close and then open the
    other side (REVERSE, whose `side` is the new one). `quantity` is in units, None: the desk decides.
    """

    OWNER = "portfolio__owner"

    class State(models.TextChoices):
        NEW = "NEW"
        QUEUED = "QUEUED"
        ACCEPTED = "ACCEPTED"
        REFUSED = "REFUSED"
        EXPIRED = "EXPIRED"

    class Source(models.TextChoices):
        CONTRACT = "CONTRACT", "contract"
        HOOK = "HOOK", "hook"

    class Kind(models.TextChoices):
        ENTRY = "ENTRY"
        EXIT = "EXIT"
        REDUCE = "REDUCE"
        REVERSE = "REVERSE"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="signals")
    source = models.CharField(max_length=8, choices=Source, default=Source.CONTRACT)
    kind = models.CharField(max_length=7, choices=Kind, default=Kind.ENTRY)
    deployment = models.ForeignKey(
        "strategies.Deployment", null=True, blank=True, on_delete=models.PROTECT, related_name="signals",
        help_text="empty: it did not come from a contract",
    )  # fmt: skip
    origin = models.CharField(max_length=120, blank=True, help_text="the hook and alert that said it, in words")
    hook_ref = models.UUIDField(null=True, blank=True, help_text="public id of the hook")
    timeframe = models.CharField(max_length=8, blank=True)
    product = models.CharField(max_length=8, blank=True, choices=[(p, p) for p in Product])
    quantity = models.PositiveBigIntegerField(null=True, blank=True, help_text="units; empty: the desk sizes it")
    max_slippage_pct = models.DecimalField(max_digits=7, decimal_places=3, null=True, blank=True)
    ladder_ref = models.BigIntegerField(null=True, blank=True, help_text="ladder plan its hook asks for")
    instrument = models.ForeignKey("marketdata.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4, choices=[(s, s) for s in Side])
    entry = models.DecimalField(max_digits=14, decimal_places=4)
    stop = models.DecimalField(max_digits=14, decimal_places=4, null=True, help_text="empty: none was given")
    target = models.DecimalField(max_digits=14, decimal_places=4, null=True, help_text="empty: it ends another way")
    score = models.FloatField(default=0)
    features = models.JSONField(default=dict)
    explanation = models.TextField()
    bar_at = models.DateTimeField(help_text="close of the deciding bar, venue time")
    created_at = models.DateTimeField(help_text="wall time")
    expires_at = models.DateTimeField(help_text="wall time")
    dedupe_key = models.CharField(max_length=120, unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.NEW)
    refusal_code = models.CharField(max_length=40, blank=True)
    refusal = models.CharField(max_length=240, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(source="HOOK") | models.Q(deployment__isnull=False, stop__isnull=False),
                name="contract_signal_is_whole",
            )
        ]
        indexes = [
            models.Index(fields=["portfolio", "-created_at"], name="signal_newest"),
            models.Index(fields=["created_at", "id"], condition=models.Q(state="NEW"), name="signal_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.instrument}"

    @property
    def author(self) -> str:
        """Whose idea it is, for people."""
        return str(self.deployment.version) if self.deployment else self.origin
