"""How the large entries of one deployment are let out, where it has a choice of its own."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


class DeploymentWork(Owned):
    """One version of a deployment's choice. A row never changes but for `active`: a change is a new version.

    FOLLOW goes back to what the settings of its portfolio say. The numbers count for the style that needs them.
    """

    OWNER = "deployment__portfolio__owner"

    class Style(models.TextChoices):
        FOLLOW = "FOLLOW", "as the settings of its portfolio say"
        NONE = "NONE", "at once"
        TWAP = "TWAP", "spread over time"
        ICEBERG = "ICEBERG", "a visible part after the other"

    deployment = models.ForeignKey("strategies.Deployment", on_delete=models.PROTECT, related_name="works")
    version = models.PositiveIntegerField()
    active = models.BooleanField(default=True)
    style = models.CharField(max_length=7, choices=Style)
    from_rupees = models.DecimalField(
        max_digits=14, decimal_places=2, default=500_000, validators=[MinValueValidator(0)],
        help_text="an entry worth as much or more is let out in parts",
    )  # fmt: skip
    minutes = models.PositiveIntegerField(
        default=15, validators=[MinValueValidator(1), MaxValueValidator(375)], help_text="over which it is spread"
    )
    slices = models.PositiveIntegerField(
        default=5, validators=[MinValueValidator(2), MaxValueValidator(100)], help_text="parts, one after the other"
    )
    visible_pct = models.DecimalField(
        max_digits=7, decimal_places=3, default=20, validators=[MinValueValidator(Decimal(1)), MaxValueValidator(50)],
        help_text="of an iceberg: the part that is shown at once",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["deployment", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "version"], name="deployment_work_version"),
            models.UniqueConstraint(
                fields=["deployment"], condition=Q(active=True), name="deployment_work_active_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_style_display()} v{self.version}"
