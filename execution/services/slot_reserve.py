"""A slot of the pool is a trade that is not closed. Who wants one looks under the lock of the pool, and makes the trade
in the same transaction: two workers cannot both have the last, and the transaction that closes a trade frees its slot.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from trading.domain.errors import TradingError
from trading.statements import ask, tell, together
from trading.trips import array_of

LOCK = """
INSERT INTO execution_pool (portfolio_id) SELECT one FROM unnest(%(portfolios)s::bigint[]) AS one ORDER BY one
ON CONFLICT (portfolio_id) DO UPDATE SET portfolio_id = EXCLUDED.portfolio_id RETURNING 1
"""
ROOM = """
SELECT one,
       (SELECT max_open_groups FROM execution_enginesettings
        WHERE active AND (portfolio_id = one OR portfolio_id IS NULL)
        ORDER BY portfolio_id NULLS LAST LIMIT 1),
       (SELECT count(*) FROM execution_group WHERE portfolio_id = one AND state <> 'CLOSED'),
       (SELECT count(*) FROM execution_queuedsignal
        WHERE portfolio_id = one AND state = 'WAITING' AND force_by <> '' AND NOT over_limit)
FROM unnest(%(portfolios)s::bigint[]) AS one
"""


@dataclass(frozen=True, slots=True)
class Room:
    """Slots of a pool: how many there may be, how many are taken (more, where somebody forced one), and how many a
    person has promised to signals that wait."""

    most: int
    taken: int
    promised: int = 0

    @property
    def left(self) -> int:
        """For a signal that holds a promise."""
        return max(0, self.most - self.taken)

    @property
    def free(self) -> int:
        """For everybody else."""
        return max(0, self.most - self.taken - self.promised)


def slot_room(portfolio_id: int) -> Room:
    """What is free, for as long as the caller's transaction holds the lock that this takes."""
    with together():
        rooms = slots_asked([portfolio_id])
    return rooms()[portfolio_id]


def slots_asked(portfolio_ids: Collection[int]) -> Callable[[], dict[int, Room]]:
    """The same of several pools, asked together with the questions of the caller and read later.

    Pools are locked in the order of their numbers, and counted by a statement of its own: what others committed while
    a lock was waited for is seen.
    """
    tell(LOCK, {"portfolios": array_of(sorted(portfolio_ids))})
    return _rooms_asked(portfolio_ids)


def pool_room(portfolio_id: int) -> Room:
    """What is free without the lock: to be looked at."""
    return _rooms_asked([portfolio_id])()[portfolio_id]


def _rooms_asked(portfolio_ids: Collection[int]) -> Callable[[], dict[int, Room]]:
    rows = ask(ROOM, {"portfolios": array_of(portfolio_ids)})

    def rooms() -> dict[int, Room]:
        found = {}
        for portfolio_id, most, taken, promised in rows():
            if most is None:
                raise TradingError("SETTINGS_MISSING", "The house has no settings of its signal engine in force.")
            found[portfolio_id] = Room(most, taken, promised)
        return found

    return rooms
