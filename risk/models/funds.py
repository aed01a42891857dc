from datetime import timedelta

from django.db import models

from accounts.ownership import Owned


class BrokerFunds(Owned):
    """What a broker last said of an account's money: one row an account, written by whoever read it last.

    The day's first reading stays beside it: money that came or went by no trade is found against it.
    """

    OWNER = "account__owner"
    BELIEVED = timedelta(minutes=3)
    """An older reading says nothing of what is free now."""

    account = models.OneToOneField(
        "accounts.BrokerAccount", on_delete=models.CASCADE, primary_key=True, related_name="funds"
    )
    total_paise = models.BigIntegerField()
    utilised_paise = models.BigIntegerField()
    available_paise = models.BigIntegerField()
    realised_paise = models.BigIntegerField(help_text="of the day, before charges, as the broker counts")
    taken_paise = models.BigIntegerField(
        default=0, help_text="room taken in the account just before it was read: what is taken since is not in it"
    )
    session_date = models.DateField(help_text="exchange day of the reading")
    first_total_paise = models.BigIntegerField(help_text="at the first reading of the day, like the next")
    first_realised_paise = models.BigIntegerField()
    profit_in_total = models.BooleanField(
        null=True, help_text="whether this broker's total holds the day's profit; empty: not learnt yet"
    )
    read_at = models.DateTimeField(help_text="wall time just before the broker was asked")

    class Meta:
        verbose_name_plural = "broker funds"

    def __str__(self) -> str:
        return f"{self.account}: {self.available_paise} of {self.total_paise} paise free"
