"""What middleware says with every answer to a program: asked of it once for each host, and kept."""

from collections.abc import Callable
from typing import Any

Headers = list[tuple[bytes, bytes]]
Dressed = Callable[[dict[str, Any]], Headers | None]
"""The headers of middleware for a request; None where it does not let it in."""
MOST_HOSTS = 64


class KeptHeaders:
    """Headers by what middleware goes by: scheme, server and host."""

    def __init__(self, dressed: Dressed) -> None:
        self._dressed = dressed
        self._kept: dict[tuple[Any, ...], Headers] = {}

    def of(self, scope: dict[str, Any], given: dict[bytes, bytes]) -> Headers | None:
        """`given`: the headers of the request. None: this one is for the long way."""
        key = scope.get("scheme"), scope.get("server"), given.get(b"host"), given.get(b"x-forwarded-proto")
        known = self._kept.get(key)
        if known is None:
            known = self._dressed(scope)
            if known is None:
                return None
            if len(self._kept) >= MOST_HOSTS:
                self._kept.clear()
            self._kept[key] = known
        return known


def read_headers(scope: dict[str, Any], names: frozenset[bytes]) -> dict[bytes, bytes] | None:
    """Of a request's headers those of these names; None where one of them occurs twice."""
    given: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in names:
            if name in given:
                return None
            given[name] = value
    return given
