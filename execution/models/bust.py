from django.db import models

from accounts.ownership import Owned


class FillBust(Owned):
    """A fill that the exchange took back. The fill stays, and what reverses it stands beside it."""

    OWNER = "fill__order__portfolio__owner"

    fill = models.OneToOneField("execution.Fill", on_delete=models.PROTECT, related_name="bust")
    reason = models.CharField(max_length=200)
    actor = models.CharField(max_length=150)
    busted_at = models.DateTimeField(help_text="venue time")
    created_at = models.DateTimeField(help_text="wall time")

    def __str__(self) -> str:
        return f"{self.fill} taken back"
