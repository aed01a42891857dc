"""What is under way in one instrument, as a new entry must see it: one statement."""

from datetime import datetime

from django.db import connection
from django.utils import timezone

from execution.states import LIVE_STATES, OrderState
from risk.snapshot import Working
from trading.domain.orders import Side
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio

WORKING = """
SELECT coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.side = %(other)s AND o.reason = 'ENTRY'), 0),
       count(*) FILTER (WHERE o.state = %(unknown)s),
       (SELECT count(*) FROM execution_group g WHERE g.portfolio_id = %(portfolio)s
        AND g.instrument_id = %(instrument)s AND g.state <> 'CLOSED' AND g.quarantined)
FROM execution_order o
WHERE o.account_id = %(account)s AND o.instrument_id = %(instrument)s AND o.state = ANY(%(live)s)
"""
REPEATED = """
SELECT max(i.created_at) FROM execution_intent i
JOIN strategies_signal s ON s.id = i.signal_id
JOIN strategies_deployment d ON d.id = s.deployment_id
JOIN strategies_contractversion v ON v.id = d.version_id
WHERE i.portfolio_id = %(portfolio)s AND i.instrument_id = %(instrument)s AND i.side = %(side)s
  AND i.state <> 'REFUSED' AND v.contract_id = %(contract)s
"""


def working_in(portfolio: Portfolio, instrument: Instrument, side: Side) -> Working:
    """Orders of the whole account in this instrument. An exit may meet an entry of another portfolio: that is a trade
    with oneself as well, but nothing may hold the exit; so only entries count as the other side."""
    with connection.cursor() as cursor:
        cursor.execute(WORKING, {
            "other": side.opposite.value, "unknown": OrderState.UNKNOWN.value, "portfolio": portfolio.pk,
            "instrument": instrument.pk, "account": portfolio.account_id, "live": [str(one) for one in LIVE_STATES],
        })  # fmt: skip
        opposite, unknown, quarantined = cursor.fetchone()
    return Working(
        opposite=int(opposite), unknown=int(unknown),
        disagreement=f"a trade in {instrument.ticker} is in quarantine" if quarantined else "",
    )  # fmt: skip


def repeat_age_s(portfolio: Portfolio, instrument: Instrument, side: Side, contract_id: int) -> float | None:
    """Wall seconds since the same contract was last allowed the same thing; None: never."""
    with connection.cursor() as cursor:
        cursor.execute(
            REPEATED,
            {"portfolio": portfolio.pk, "instrument": instrument.pk, "side": side.value, "contract": contract_id},
        )
        last: datetime | None = cursor.fetchone()[0]
    return None if last is None else (timezone.now() - last).total_seconds()
