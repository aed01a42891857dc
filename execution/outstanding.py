"""What is under way in one instrument, and whether the account's engine is there: one statement."""

import json
from collections.abc import Callable, Sequence
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
from trading.statements import ask

# States are written out: a plan that serves every order can then use the indexes of what is alive.
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE_STATES))
_HELD_BACK = ", ".join(f"'{state}'" for state in sorted(Mismatch.HELD_BACK))
_BEGINNING = ", ".join(f"'{state}'" for state in Group.BEGINNING)
LEASE = """
SELECT state, cause, extract(epoch FROM clock_timestamp() - beat_at)::float8, build
FROM execution_enginelease WHERE account_id = %(account)s
"""
# One row for each wish of one account.
OUTSTANDING = f"""
SELECT lease.state, lease.cause, lease.age, lease.build, working.opposite, working.unknown,
    (SELECT count(*) FROM execution_group g WHERE g.portfolio_id = w.portfolio
     AND g.instrument_id = w.instrument AND g.state <> 'CLOSED' AND g.quarantined),
    doubt.kind, doubt.ours, doubt.theirs,
    (SELECT extract(epoch FROM clock_timestamp() - i.created_at)::float8 FROM execution_intent i
     JOIN strategies_signal s ON s.id = i.signal_id
     JOIN strategies_deployment d ON d.id = s.deployment_id
     JOIN strategies_contractversion v ON v.id = d.version_id
     WHERE w.contract IS NOT NULL AND i.portfolio_id = w.portfolio AND i.instrument_id = w.instrument
       AND i.side = w.side AND i.state <> 'REFUSED' AND v.contract_id = w.contract
     ORDER BY i.created_at DESC LIMIT 1),
    (SELECT json_agg(json_build_array(m.id, m.symbol, CASE g.side WHEN 'BUY' THEN 1 ELSE -1 END)) FROM execution_group g
     JOIN marketdata_instrument m ON m.id = g.instrument_id
     WHERE w.contract IS NOT NULL AND g.portfolio_id = w.portfolio
       AND g.state IN ({_BEGINNING}) AND g.close_reason = '')
FROM jsonb_to_recordset(%(wishes)s::jsonb)
    AS w (place int, portfolio bigint, instrument bigint, symbol text, side text, other text, contract bigint)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(o.quantity - o.filled_quantity) FILTER (WHERE o.side = w.other AND o.reason = 'ENTRY'), 0)
               AS opposite,
           count(*) FILTER (WHERE o.state = '{OrderState.UNKNOWN}') AS unknown
    FROM execution_order o
    WHERE o.account_id = %(account)s AND o.instrument_id = w.instrument AND o.state IN ({_LIVE})
) AS working
LEFT JOIN (
    SELECT state, cause, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age, build
    FROM execution_enginelease WHERE account_id = %(account)s
) AS lease ON true
LEFT JOIN LATERAL (
    SELECT m.kind, m.ours, m.theirs FROM execution_mismatch m
    WHERE m.account_id = %(account)s AND (m.symbol = w.symbol OR m.kind = '{Mismatch.Kind.FUNDS}')
      AND m.state IN ({_HELD_BACK})
    ORDER BY m.id DESC LIMIT 1
) AS doubt ON true
ORDER BY w.place
"""  # noqa: S608 - made of constants


def ready_asked(account_id: int) -> Callable[[], tuple[bool, str]]:
    """Whether the account's engine enters now, and how it is, in words: asked together with the caller's other
    questions and read later."""
    lease = ask(LEASE, {"account": account_id})
    return lambda: _ready(lease())


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
    if opens:
        entries = outstanding_entries([(portfolio, instrument, side, contract_id)])
        return lambda: entries()[0]
    ready = ready_asked(portfolio.account_id)
    return lambda: Outstanding(*ready())


Entry = tuple[Portfolio, Instrument, Side, int | None]


def outstanding_entries(entries: Sequence[Entry]) -> Callable[[], list[Outstanding]]:
    """The same for several of one account: portfolio, instrument, side, and the contract whose idea it is."""
    rows = ask(OUTSTANDING, {
        "account": entries[0][0].account_id,
        "wishes": json.dumps([
            {
                "place": place, "portfolio": portfolio.pk, "instrument": instrument.pk, "symbol": instrument.symbol,
                "side": side.value, "other": side.opposite.value, "contract": contract,
            }
            for place, (portfolio, instrument, side, contract) in enumerate(entries)
        ]),
    })  # fmt: skip
    return lambda: [_read(entry[1], row) for entry, row in zip(entries, rows(), strict=True)]


def _read(instrument: Instrument, row: tuple[Any, ...]) -> Outstanding:
    state, cause, age_s, build, opposite, unknown, quarantined, kind, ours, theirs, repeat_age_s, begun = row
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
