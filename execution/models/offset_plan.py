"""Winners pay for a loser: the plan as one stored record, from what was wanted to what became of it."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.ownership import Owned
from trading.domain.orders import Side


class OffsetPlan(Owned):
    """One loser that is given up, and the winners that are sold to pay for it.

    PLANNED: nothing was asked for yet. CLOSING_WINNERS: their parts are asked for. CLOSING_LOSER: they are sold, and
    the loser's end is asked for. DONE: it is closed. ABANDONED: given up, and why; what was sold by then stays sold.
    A portfolio has one live plan at most. Amounts are whole paise.
    """

    OWNER = "portfolio__owner"

    class State(models.TextChoices):
        PLANNED = "PLANNED", "planned"
        CLOSING_WINNERS = "CLOSING_WINNERS", "winners are being sold"
        CLOSING_LOSER = "CLOSING_LOSER", "the loser is being closed"
        DONE = "DONE", "done"
        ABANDONED = "ABANDONED", "abandoned"

    LIVE = (State.PLANNED, State.CLOSING_WINNERS, State.CLOSING_LOSER)

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="offset_plans")
    loser = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="offset_plans")
    settings = models.ForeignKey(
        "execution.EngineSettings", on_delete=models.PROTECT, related_name="+", help_text="as it was made under"
    )
    state = models.CharField(max_length=16, choices=State, default=State.PLANNED)
    actor = models.CharField(max_length=150, help_text="the clock, a fill, or a person")
    loss_pct = models.DecimalField(max_digits=9, decimal_places=4, help_text="of the loser, on its cost, positive")
    required_paise = models.BigIntegerField(help_text="the loss that is to be paid for")
    covered_paise = models.BigIntegerField(help_text="what the winners were to bring, before charges")
    projected_paise = models.BigIntegerField(help_text="what was to be left of it all, after charges")
    realised_paise = models.BigIntegerField(null=True, blank=True, help_text="what was left, after charges")
    code = models.CharField(max_length=40, blank=True, help_text="why it was abandoned")
    reason = models.CharField(max_length=240, blank=True)
    fills_before = models.BigIntegerField(help_text="the newest fill of the portfolio when it was made")
    venue_at = models.DateTimeField(help_text="venue time of the decision")
    created_at = models.DateTimeField(help_text="wall time, like the next two")
    step_at = models.DateTimeField(help_text="when it came into its state")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio"], condition=Q(state__in=["PLANNED", "CLOSING_WINNERS", "CLOSING_LOSER"]),
                name="offset_plan_live_once",
            )
        ]  # fmt: skip
        indexes = [models.Index(fields=["portfolio", "-id"], name="offset_plan_newest")]

    def __str__(self) -> str:
        return f"offset {self.pk} {self.state}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE


class OffsetLine(Owned):
    """One trade of a plan: how much of it, at which price, for what; and what came of it. Paise are after charges."""

    OWNER = "plan__portfolio__owner"

    class Role(models.TextChoices):
        WINNER = "WINNER", "pays"
        LOSER = "LOSER", "is paid for"

    class State(models.TextChoices):
        PLANNED = "PLANNED", "planned"
        ASKED = "ASKED", "asked for"
        DONE = "DONE", "closed as planned"
        SHORT = "SHORT", "less of it than planned"
        ELSEWISE = "ELSEWISE", "closed by something else"
        DROPPED = "DROPPED", "left alone"

    ENDED = (State.DONE, State.SHORT, State.ELSEWISE, State.DROPPED)

    plan = models.ForeignKey(OffsetPlan, on_delete=models.CASCADE, related_name="lines")
    rank = models.PositiveSmallIntegerField(help_text="0: the loser; winners by what they have earned")
    role = models.CharField(max_length=6, choices=Role)
    group = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="offset_lines")
    part = models.OneToOneField(
        "execution.PartExit", null=True, blank=True, on_delete=models.PROTECT, related_name="offset_line"
    )
    quantity = models.PositiveBigIntegerField(help_text="units to be closed")
    cost_paise = models.BigIntegerField(help_text="what these units had cost")
    planned_price = models.DecimalField(max_digits=14, decimal_places=4, help_text="the last price at planning")
    limit_price = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    projected_paise = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.PLANNED)
    closed_quantity = models.PositiveBigIntegerField(default=0)
    average_price = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    gross_paise = models.BigIntegerField(default=0, help_text="realised, before charges")
    realised_paise = models.BigIntegerField(default=0, help_text="realised, after charges")
    slippage_pct = models.DecimalField(
        max_digits=9, decimal_places=4, null=True, blank=True, help_text="worse than planned; below zero: better"
    )
    asked_at = models.DateTimeField(null=True, blank=True, help_text="wall time, like the next")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["plan", "rank"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "rank"], name="offset_line_once"),
            models.UniqueConstraint(fields=["plan", "group"], name="offset_group_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="offset_line_closes_something"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.quantity} of {self.group_id}"

    @property
    def closing_side(self) -> Side:
        return Side(self.group.side).opposite

    @property
    def key(self) -> str:
        """Of the part that closes it: the same for the same line, whoever asks and however often."""
        return f"offset:{self.plan_id}:{self.rank}"


class OffsetMark(Owned):
    """What a person said about one trade: that winners never pay for it and it pays for none, or not this once."""

    OWNER = "group__portfolio__owner"

    class Kind(models.TextChoices):
        BLOCK = "BLOCK", "left alone until it is unblocked"
        SKIP_ONCE = "SKIP_ONCE", "passed over when its turn comes, once"

    group = models.ForeignKey("execution.Group", on_delete=models.PROTECT, related_name="offset_marks")
    kind = models.CharField(max_length=9, choices=Kind)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now, help_text="wall time, like the next")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="taken back, or used")
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["group", "kind"], condition=Q(ended_at=None), name="offset_mark_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.group_id}"


class OffsetWatch(Owned):
    """When a portfolio was last looked at, and what was said. Whoever moves it on has the look for himself."""

    OWNER = "portfolio__owner"

    portfolio = models.OneToOneField("portfolio.Portfolio", on_delete=models.PROTECT, related_name="offset_watch")
    looked_at = models.DateTimeField(null=True, help_text="wall time")
    fill_seen = models.BigIntegerField(default=0, help_text="the newest fill of it by then")
    asked_by = models.CharField(max_length=150, blank=True, help_text="who asked for a look now")
    code = models.CharField(max_length=40, blank=True, help_text="why nothing was planned")
    said = models.CharField(max_length=240, blank=True)

    def __str__(self) -> str:
        return f"offset watch of {self.portfolio_id}"
