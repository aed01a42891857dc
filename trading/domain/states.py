"""A table of what may follow what."""

from collections.abc import Iterable, Mapping

from trading.domain.errors import IllegalTransition


class TransitionTable:
    """States and their lawful successors. Staying where one is, is always lawful: facts arrive twice."""

    def __init__(self, moves: Mapping[str, Iterable[str]]) -> None:
        self.moves: dict[str, frozenset[str]] = {state: frozenset(after) for state, after in moves.items()}

    def allows(self, current: str, new: str) -> bool:
        return current == new or new in self.moves.get(current, frozenset())

    def check(self, current: str, new: str) -> None:
        if not self.allows(current, new):
            raise IllegalTransition("ILLEGAL_TRANSITION", f"{current} cannot become {new}.", current=current, new=new)

    @property
    def states(self) -> frozenset[str]:
        return frozenset(self.moves) | frozenset().union(*self.moves.values())
