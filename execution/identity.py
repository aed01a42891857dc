"""Names that follow from what they name: a repeated wish makes the same order, not a second one."""

import base64
import hashlib
from datetime import datetime
from uuid import UUID

from trading.venue.sessions import exchange_date

LENGTH = 20
OF_THE_DESK = "DESK-"
"""How the number of an order begins that a person booked by hand: no broker's book has it."""


def client_order_id(*, account_id: int, intent_id: UUID, live: bool, child: int = 0) -> str:
    """Twenty characters that a broker accepts as a tag: L or P (paper), 16 of a hash, 3 that check the rest.

    `child` counts the orders of one intent from 0.
    """
    named = f"{account_id}:{intent_id}:{child}" if child else f"{account_id}:{intent_id}"
    body = base64.b32encode(hashlib.blake2b(named.encode(), digest_size=10).digest()).decode()
    stem = ("L" if live else "P") + body
    return stem + _check(stem)


def is_ours(tag: str | None) -> bool:
    """Whether a broker's tag was made here."""
    if not tag or len(tag) != LENGTH or tag[0] not in "LP":
        return False
    return _check(tag[:-3]) == tag[-3:]


def _check(stem: str) -> str:
    return base64.b32encode(hashlib.blake2b(stem.encode(), digest_size=2).digest()).decode()[:3]


def execution_key(*, account_id: int, broker_order_id: str, broker_trade_id: str, filled_at: datetime) -> str:
    """What makes two reports the same execution. Trade numbers are unique within a day and an order."""
    return f"{account_id}:{exchange_date(filled_at)}:{broker_order_id}:{broker_trade_id}"
