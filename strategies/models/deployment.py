from django.core.validators import MaxValueValidator
from django.db import models

from accounts.ownership import Owned, OwnedQuerySet
from strategies.models.lifecycle import Stage


class DeploymentQuerySet(OwnedQuerySet):
    def at_work(self) -> "DeploymentQuerySet":
        """Those that give signals: active, and of a version that is neither paused nor retired."""
        return self.filter(state=Deployment.State.ACTIVE).exclude(
            version__standing__stage__in=[Stage.PAUSED, Stage.RETIRED]
        )


class Deployment(Owned):
    """One version of a contract, put to work on a universe with a portfolio's money."""

    OWNER = "portfolio__owner"

    class State(models.TextChoices):
        ACTIVE = "ACTIVE"
        PAUSED = "PAUSED"
        RETIRED = "RETIRED"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="deployments")
    version = models.ForeignKey("strategies.ContractVersion", on_delete=models.PROTECT, related_name="deployments")
    universe = models.ForeignKey("marketdata.Universe", on_delete=models.PROTECT, related_name="+")
    parameters = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=150, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="wall time")
    allocation_pct = models.PositiveSmallIntegerField(
        default=100, validators=[MaxValueValidator(100)], help_text="share of the size its contract asks for"
    )
    watched_from = models.DateTimeField(
        null=True, blank=True, help_text="wall time from which refusals count against it again"
    )
    trades_seen = models.PositiveIntegerField(default=0, help_text="trades that a person has seen the sum of")
    trades_at_cut = models.PositiveIntegerField(null=True, blank=True, help_text="trades there were when it was cut")
    state = models.CharField(max_length=8, choices=State, default=State.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeploymentQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["portfolio", "version", "universe"],
                condition=~models.Q(state="RETIRED"),
                name="deployed_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} on {self.universe}"
