"""The broker's funds, read into the row that gates look at."""

from datetime import datetime

from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BrokerGateway, Funds
from risk.funds import funds_keep, room_taken
from risk.models import BrokerFunds
from trading.domain.money import to_paise


def read_funds(*, account: BrokerAccount, gateway: BrokerGateway, now: datetime) -> BrokerFunds:
    """Ask and keep. `now` is venue time. A read that fails raises a BrokerError and changes nothing."""
    taken, asked_at = room_taken(account.pk), timezone.now()
    return keep_funds(account=account, funds=gateway.funds(), taken_paise=taken, asked_at=asked_at, now=now)


def keep_funds(
    *, account: BrokerAccount, funds: Funds, taken_paise: int, asked_at: datetime, now: datetime
) -> BrokerFunds:  # fmt: skip
    """Keep what was asked for at `asked_at`, wall time, when `taken_paise` of room was taken."""
    return funds_keep(
        account_id=account.pk, total_paise=to_paise(funds.total), utilised_paise=to_paise(funds.utilised),
        available_paise=to_paise(funds.available), realised_paise=to_paise(funds.realised), taken_paise=taken_paise,
        read_at=asked_at, now=now,
    )  # fmt: skip
