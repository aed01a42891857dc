"""Which known instrument a line of a master is about. Pure.

A symbol is a name and names change; the ISIN says whose shares they are, and the exchange's token which listing of
them. An ISIN changes when the face value does (a split), a token is given to somebody else when a listing is gone. So
two things must agree, and the issuer (the first seven characters of an ISIN) is never allowed to differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ISSUER = 7  # characters of an ISIN that name the country and the issuer


@dataclass(frozen=True, slots=True)
class Identity:
    """By what an instrument is known. `market`: exchange and segment; empty text: not known."""

    key: int
    symbol: str
    market: str
    isin: str
    token: str


def same_issuer(one: str, other: str) -> bool:
    """Whether two ISINs can be of one issuer. An unknown ISIN contradicts nothing."""
    return not one or not other or one[:ISSUER] == other[:ISSUER]


class Matcher:
    """Finds the row of a line among the known ones.

    `listed` are the symbols of the master at hand: what is still listed under its own name was not renamed.
    `renames` are known ones, new symbol → old symbol, for rows that carry neither ISIN nor token.
    """

    def __init__(self, known: Iterable[Identity], *, listed: set[str], renames: Mapping[str, str]) -> None:
        self.by_symbol: dict[str, Identity] = {}
        self._by_token: dict[tuple[str, str], Identity] = {}
        self._by_isin: dict[tuple[str, str], Identity | None] = {}
        self._renames = renames
        self._listed = listed
        for one in known:
            self.by_symbol[one.symbol] = one
            if one.symbol in listed:
                continue
            if one.token:
                self._by_token[one.market, one.token] = one
            if one.isin:
                key = (one.market, one.isin)
                self._by_isin[key] = None if key in self._by_isin else one  # two of one ISIN: no answer

    def find(self, *, symbol: str, market: str, isin: str, token: str) -> tuple[Identity | None, Identity | None]:
        """The instrument of a line, and whoever holds its symbol though it is somebody else (None, mostly)."""
        holder = self.by_symbol.get(symbol)
        if holder is not None and not _somebody_else(holder, isin, token):
            return holder, None
        for found in (
            self._by_token.get((market, token)) if token else None,
            self._by_isin.get((market, isin)) if isin else None,
            self._known_rename(symbol),
        ):
            if found is not None and same_issuer(found.isin, isin):
                return found, holder
        return None, holder

    def _known_rename(self, symbol: str) -> Identity | None:
        """Who had the name before, or the name before that: a share may be renamed twice between two masters."""
        names = [symbol]
        while (old := self._renames.get(names[-1])) is not None and old not in names and old not in self._listed:
            if old in self.by_symbol:
                return self.by_symbol[old]
            names.append(old)
        return None


def _somebody_else(holder: Identity, isin: str, token: str) -> bool:
    """The same symbol, and yet not the same company: its issuer differs and so does its token."""
    if same_issuer(holder.isin, isin):
        return False
    return not holder.token or not token or holder.token != token
