from django.db import models


class OrderRate(models.Model):
    """When the next call of one class may leave an account: one row that all processes share."""

    account_id = models.BigIntegerField()
    call_class = models.CharField(max_length=8)
    next_free_at = models.DateTimeField(help_text="theoretical arrival time, wall, UTC")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account_id", "call_class"], name="order_rate_once")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.call_class}"
