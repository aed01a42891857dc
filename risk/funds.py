"""The broker's word on an account's money, kept with its age: gates read the row and never ask the broker."""

from datetime import datetime

from django.db import transaction

from risk.models import BrokerFunds, RiskBucket
from risk.reserve import Kind
from trading.venue.sessions import exchange_date


def room_taken(account_id: int) -> int:
    """Paise of room that orders of the account hold or use. To be read before the broker is asked for its funds."""
    keys = {"key": f"{Kind.ACCOUNT}:{account_id}"}
    row = RiskBucket.objects.filter(**keys).values_list("reserved", "used").first()
    return sum(row) if row else 0


@transaction.atomic
def funds_keep(
    *, account_id: int, total_paise: int, utilised_paise: int, available_paise: int, realised_paise: int,
    taken_paise: int, read_at: datetime, now: datetime,
) -> BrokerFunds:  # fmt: skip
    """Keep the newest reading; an older one that arrives late is passed over. `now` is venue time.

    The first reading of an exchange day is the one that the day's others are held against.
    """
    day = exchange_date(now)
    values = {
        "total_paise": total_paise, "utilised_paise": utilised_paise, "available_paise": available_paise,
        "realised_paise": realised_paise, "taken_paise": taken_paise, "read_at": read_at, "session_date": day,
    }  # fmt: skip
    first = {"first_total_paise": total_paise, "first_realised_paise": realised_paise}
    row, created = BrokerFunds.objects.select_for_update().get_or_create(account_id=account_id, defaults=values | first)
    if created or row.read_at > read_at:
        return row
    if row.session_date != day:
        values |= first
    for name, value in values.items():
        setattr(row, name, value)
    row.save()
    return row
