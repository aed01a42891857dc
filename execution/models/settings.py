"""How the signal engine behaves, as rows: a change is a new version, in force at the next cycle of every process."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned
from strategies.tactics.ladder import LadderError, Rung, rungs_of
from strategies.tactics.ranking import RULES


def _percent(default: str, help_text: str, most: int = 100, least: str = "0") -> models.DecimalField:
    return models.DecimalField(
        max_digits=7, decimal_places=3, default=default, help_text=help_text,
        validators=[MinValueValidator(Decimal(least)), MaxValueValidator(most)],
    )  # fmt: skip


def _whole(default: int, help_text: str, most: int, least: int = 0) -> models.PositiveIntegerField:
    return models.PositiveIntegerField(
        default=default, help_text=help_text, validators=[MinValueValidator(least), MaxValueValidator(most)]
    )


def every_rule() -> list[str]:
    return list(RULES)


class LadderPlan(Owned):
    """How a trade is built up: at which distance what share of it is bought, and where each part takes its profit.

    `rungs` holds up to seven objects `{"gap_pct", "weight_pct", "take_profit_pct"}`: gap in percent of the price of
    the pyramid's first leg (0 or below; a short trade mirrors it), weights that sum to 100. `overrides` holds other
    rungs for single pyramids, by their index.
    """

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(
        "portfolio.Portfolio", null=True, blank=True, on_delete=models.PROTECT, related_name="ladder_plans",
        help_text="empty: everybody may use it",
    )  # fmt: skip
    name = models.CharField(max_length=60)
    rungs = models.JSONField()
    overrides = models.JSONField(default=dict, blank=True)
    stop_pct = models.DecimalField(
        max_digits=6, decimal_places=3, null=True, blank=True,
        validators=[MinValueValidator(Decimal("0.1")), MaxValueValidator(50)],
        help_text="stop of a trade whose signal names none: percent beyond its furthest leg; empty: none",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "name"], condition=Q(retired_at=None), nulls_distinct=False, name="ladder_by_name"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def rungs_for(self, pyramid: int) -> tuple[Rung, ...]:
        """The rungs of one pyramid, its own where it has some."""
        own = self.overrides.get(str(pyramid)) if isinstance(self.overrides, dict) else None
        return rungs_of(own or self.rungs)

    def clean(self) -> None:
        wrong: dict[str, Any] = {}
        try:
            rungs_of(self.rungs)
        except LadderError as error:
            wrong["rungs"] = error.message
        if not isinstance(self.overrides, dict):
            wrong["overrides"] = "Rungs by the index of their pyramid, as an object."
        else:
            for index, rungs in self.overrides.items():
                if not (str(index).isdecimal() and len(str(index)) <= 2 and int(index) < 20):
                    wrong["overrides"] = f"{index} is no index of a pyramid."
                    break
                try:
                    rungs_of(rungs)
                except LadderError as error:
                    wrong["overrides"] = f"Pyramid {index}: {error.message}"
                    break
        if wrong:
            raise ValidationError(wrong)


class EngineSettings(Owned):
    """What the signal engine is told, for one portfolio, or for the house where the portfolio is empty.

    A row never changes but for `active`: a change is a new version. There is always one of the house.
    """

    OWNER = "portfolio__owner"

    class TakeProfit(models.TextChoices):
        LEG = "LEG", "each leg alone"
        AGGREGATE = "AGGREGATE", "the whole trade at its average"
        HYBRID = "HYBRID", "both, whichever comes first"
        PYRAMID_AGGREGATE = "PYRAMID_AGGREGATE", "each pyramid at its average"

    class Work(models.TextChoices):
        NONE = "NONE", "at once"
        TWAP = "TWAP", "over time, in equal children"
        ICEBERG = "ICEBERG", "as an iceberg"

    class Timer(models.TextChoices):
        AFTER_PYRAMIDS = "AFTER_PYRAMIDS", "all pyramids have come"
        AFTER_SUBMITTED = "AFTER_SUBMITTED", "all legs are at the broker"
        AFTER_FILLED = "AFTER_FILLED", "all legs are filled"

    class SlippageAction(models.TextChoices):
        WARN = "WARN", "close at the market and tell"
        LIMIT = "LIMIT", "close with a limit at the edge of the band"
        REJECT = "REJECT", "do not close beyond the band"

    portfolio = models.ForeignKey(
        "portfolio.Portfolio", null=True, blank=True, on_delete=models.PROTECT, related_name="engine_settings"
    )
    version = models.PositiveIntegerField()
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    # -- pool and queue
    max_open_groups = _whole(10, "trades at once: the slots of the pool", 10_000, 1)
    queue_size = _whole(50, "signals that may wait for a slot", 10_000)
    queue_ttl_s = _whole(3600, "wall seconds a signal may wait", 7 * 86_400, 1)
    ranking = models.JSONField(
        default=every_rule, help_text="who gets the next slot: rules, the first that tells two apart decides"
    )

    # -- ladder
    ladder = models.ForeignKey(LadderPlan, on_delete=models.PROTECT, related_name="+", help_text="used by hooks")
    max_pyramids = _whole(5, "entries into one trade, the first included", 20, 1)
    pyramid_pct = _percent("10", "size of a pyramid whose signal names none, percent of equity")
    min_notional_rupees = models.DecimalField(
        max_digits=12, decimal_places=2, default=500, validators=[MinValueValidator(0)],
        help_text="an order below it is not worth its charges and is blocked",
    )  # fmt: skip
    metadata_max_age_h = _whole(48, "hours after which tick and lot of an instrument are not trusted", 24 * 365, 1)

    # -- an entry that does not fill
    chase_after_s = _whole(60, "seconds of market time before an idea's entry follows the market", 3600, 5)
    chase_times = _whole(3, "how often it is re-priced to the mid before it is given up; 0: never", 20)
    chase_reach_pct = _percent(
        "0.3", "how much worse than the idea's own price it may get; an alert's own slippage comes first", 5
    )

    # -- a large entry of a contract
    work_style = models.CharField(max_length=7, choices=Work, default=Work.NONE)
    work_from_rupees = models.DecimalField(
        max_digits=14, decimal_places=2, default=500_000, validators=[MinValueValidator(0)],
        help_text="an entry of a contract worth as much or more is let out in children",
    )  # fmt: skip
    work_minutes = _whole(15, "minutes over which it is spread", 375, 1)
    work_slices = _whole(5, "children of it, one after the other", 100, 2)
    work_visible_pct = _percent("20", "of an iceberg: the part that is shown at once", 50, "1")

    # -- taking profit
    take_profit = models.CharField(max_length=18, choices=TakeProfit, default=TakeProfit.LEG)
    aggregate_target_pct = _percent("1.5", "profit on the average entry at which the whole is closed", 1000, "0.01")

    # -- winners pay for a loser
    offset_enabled = models.BooleanField(default=False, help_text="winners may be sold to pay for a loser")
    offset_pyramids = _whole(5, "pyramids that a loser must have received", 20, 1)
    offset_timer = models.CharField(max_length=16, choices=Timer, default=Timer.AFTER_PYRAMIDS)
    offset_wait_s = _whole(900, "wall seconds to wait from then on", 7 * 86_400)
    offset_reset_on_replacement = models.BooleanField(default=False, help_text="a replacing signal starts it anew")
    offset_loss_pct = _percent("5", "loss on its cost from which a loser counts", 100, "0.01")
    offset_min_age_s = _whole(0, "wall seconds a loser must be old", 30 * 86_400)
    offset_max_winners = _whole(3, "winners that may pay for one loser", 50, 1)
    offset_min_close_rupees = models.DecimalField(
        max_digits=12, decimal_places=2, default=1000, validators=[MinValueValidator(0)],
        help_text="less than this of a winner is not closed",
    )  # fmt: skip
    offset_every_s = _whole(10, "seconds between two looks", 3600, 1)
    slippage_guard_pct = _percent("0.5", "how far a close of the offset may be from the price it was planned at", 50)
    slippage_action = models.CharField(max_length=6, choices=SlippageAction, default=SlippageAction.LIMIT)

    class Meta:
        ordering = ["portfolio", "-version"]
        verbose_name_plural = "engine settings"
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "version"], nulls_distinct=False, name="engine_settings_version"
            ),
            models.UniqueConstraint(
                fields=["portfolio"], condition=Q(active=True), nulls_distinct=False, name="engine_settings_active_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.portfolio or 'house'} v{self.version}"

    def clean(self) -> None:
        rules = self.ranking
        known = isinstance(rules, list) and all(isinstance(rule, str) and rule in RULES for rule in rules)
        if not known or len(set(rules)) != len(rules):
            raise ValidationError({"ranking": f"Each at most once, of: {', '.join(RULES)}."})
        if self.ladder_id and self.ladder.portfolio_id not in (None, self.portfolio_id):
            raise ValidationError({"ladder": "That ladder belongs to another portfolio."})
        if self.offset_pyramids > self.max_pyramids:
            raise ValidationError({"offset_pyramids": "More than a trade may have."})
