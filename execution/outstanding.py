"""What is under way in one instrument, and whether the account's engine is there: one statement."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from execution.engine.readiness import readiness_of
from execution.models import Group, Mismatch
from execution.states import LIVE_STATES, OrderState
from risk.snapshot import NOTHING_WORKS, Working
from trading.domain.orders import Side
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Holding
from trading.statements import Rows, ask, run

# States are written out: a plan that serves every order can then use the indexes of what is alive.
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE_STATES))
_HELD_BACK = ", ".join(f"'{state}'" for state in sorted(Mismatch.HELD_BACK))
_BEGINNING = ", ".join(f"'{state}'" for state in Group.BEGINNING)
LEASE = """
SELECT state, cause, extract(epoch FROM clock_timestamp() - beat_at)::float8, build
FROM execution_enginelease WHERE account_id = %(account)s
"""
OUTSTANDING = f"""
SELECT lease.state, lease.cause, lease.age, lease.build, working.opposite, working.unknown,
    (SELECT count(*) FROM execution_group g WHERE g.portfolio_id = %(portfolio)s
     AND g.instrument_id = %(instrument)s AND g.state <> 'CLOSED' AND g.quarantined),
    doubt.kind, doubt.ours, doubt.theirs,
    (SELECT extract(epoch FROM clock_timestamp() - i.created_at)::float8 FROM execution_intent i
     JOIN strategies_signal s ON s.id = i.signal_id
     JOIN strategies_deployment d ON d.id = s.deployment_id
     JOIN strategies_contractversion v ON v.id = d.version_id
     WHERE i.portfolio_id = %(portfolio)s AND i.instrument_id = %(instrument)s AND i.side = %(side)s
       AND i.state <> 'REFUSED' AND v.contract_id = %(contract)s::bigint
     ORDER BY i.created_at DESC LIMIT 1),
    (SELECT json_agg(json_build_array(m.id, m.symbol, CASE g.side WHEN 'BUY' THEN 1 ELSE -1 END)) FROM execution_group g
     JOIN marketdata_instrument m ON m.id = g.instrument_id
     WHERE %(contract)s::bigint IS NOT NULL AND g.portfolio_id = %(portfolio)s
       AND g.state IN ({_BEGINNING}) AND g.close_reason = '')
FROM (
    SELECT coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.side = %(other)s AND o.reason = 'ENTRY'), 0)
               AS opposite,
           count(*) FILTER (WHERE o.state = '{OrderState.UNKNOWN}') AS unknown
    FROM execution_order o
    WHERE o.account_id = %(account)s AND o.instrument_id = %(instrument)s AND o.state IN ({_LIVE})
) AS working
LEFT JOIN (
    SELECT state, cause, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age, build
    FROM execution_enginelease WHERE account_id = %(account)s
) AS lease ON true
LEFT JOIN (
    SELECT m.kind, m.ours, m.theirs FROM execution_mismatch m
    WHERE m.account_id = %(account)s AND (m.symbol = %(symbol)s OR m.kind = '{Mismatch.Kind.FUNDS}')
      AND m.state IN ({_HELD_BACK})
    ORDER BY m.id DESC LIMIT 1
) AS doubt ON true
"""  # noqa: S608 - made of constants


def engine_ready(account_id: int) -> tuple[bool, str]:
    """Whether the account's engine enters now, and how it is, in words."""
    return _ready(run(LEASE, {"account": account_id}))


def _ready(lease: list[tuple[Any, ...]]) -> tuple[bool, str]:
    return readiness_of(*(lease[0] if lease else (None, None, None, None)))


@dataclass(frozen=True, slots=True)
class Outstanding:
    """`doubt`: a difference with the broker for which nothing is entered, see Mismatch.forbidding_entry.

    `repeat_age_s`: wall seconds since the same contract was last allowed the same thing; None: never. `begun`: for a
    contract, trades that were let in and hold nothing yet, one unit each: two ideas of one bar are two bets or one.
    """

    engine_ready: bool
    engine_cause: str
    working: Working = NOTHING_WORKS
    doubt: Mismatch | None = None
    repeat_age_s: float | None = None
    begun: tuple[Holding, ...] = ()


def outstanding(
    portfolio: Portfolio, instrument: Instrument, side: Side, *, opens: bool, contract_id: int | None
) -> Callable[[], Outstanding]:
    """Asked with the caller's other questions and read later.

    For an entry: orders of the whole account in this instrument. Nothing of that could keep an exit in. An exit may
    meet an entry of another portfolio: that is a trade with oneself as well, but nothing may hold the exit; so only
    entries count as the other side.
    """
    if not opens:
        lease = ask(LEASE, {"account": portfolio.account_id})
        return lambda: Outstanding(*_ready(lease()))
    rows = ask(OUTSTANDING, {
        "portfolio": portfolio.pk, "instrument": instrument.pk, "account": portfolio.account_id,
        "symbol": instrument.symbol, "side": side.value, "other": side.opposite.value, "contract": contract_id,
    })  # fmt: skip
    return lambda: _read(instrument, rows)


def _read(instrument: Instrument, rows: Rows) -> Outstanding:
    ((state, cause, age_s, build, opposite, unknown, quarantined, kind, ours, theirs, repeat_age_s, begun),) = rows()
    if isinstance(begun, str):
        begun = json.loads(begun)
    return Outstanding(
        *readiness_of(state, cause, age_s, build),
        working=Working(
            opposite=int(opposite), unknown=int(unknown),
            disagreement=f"a trade in {instrument.ticker} is in quarantine" if quarantined else "",
        ),
        doubt=None if kind is None else Mismatch(kind=kind, ours=ours, theirs=theirs),
        repeat_age_s=repeat_age_s,
        begun=tuple(Holding(pk, symbol, sign, 0) for pk, symbol, sign in begun or ()),
    )  # fmt: skip
