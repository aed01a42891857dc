from django.db import models

from accounts.ownership import Owned


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
    state = models.CharField(max_length=8, choices=State, default=State.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)

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
