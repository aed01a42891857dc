from django.db import models

from accounts.ownership import Owned


class ChaseStep(Owned):
    """One look at an entry that did not fill: re-priced, or left where it was and why. Written once.

    How often an order was chased is the number of its rows; what the broker made of a new price is in its events.
    """

    OWNER = "order__portfolio__owner"

    order = models.ForeignKey("execution.Order", on_delete=models.PROTECT, related_name="chase_steps")
    number = models.PositiveSmallIntegerField(help_text="1: the first")
    mid_price = models.DecimalField(max_digits=14, decimal_places=4, help_text="of the market then, rupees a unit")
    old_price = models.DecimalField(max_digits=14, decimal_places=4)
    new_price = models.DecimalField(max_digits=14, decimal_places=4, help_text="the old one: it was left there")
    quantity = models.PositiveBigIntegerField(help_text="units of the order from then on, those filled included")
    code = models.CharField(max_length=40, blank=True, help_text="why it was left; empty: it was re-priced")
    said = models.CharField(max_length=240, blank=True)
    venue_at = models.DateTimeField(help_text="market time")
    created_at = models.DateTimeField(help_text="wall time")

    class Meta:
        ordering = ["order", "number"]
        constraints = [models.UniqueConstraint(fields=["order", "number"], name="chase_step_once")]

    def __str__(self) -> str:
        return f"chase {self.number} of {self.order_id}: {self.code or self.new_price}"
