"""Arithmetic of half-open ranges of time: what is wanted, less what is there, is what must be fetched."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

Range: TypeAlias = tuple[datetime, datetime]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same instants in the fewest ranges, in order. Empty ranges vanish; ranges that touch become one."""
    result: list[Range] = []
    for start, end in sorted(one for one in ranges if one[0] < one[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def common(left: Iterable[Range], right: Iterable[Range]) -> list[Range]:
    """The instants that are in both."""
    ours, theirs = merged(left), merged(right)
    result: list[Range] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        start, end = max(ours[i][0], theirs[j][0]), min(ours[i][1], theirs[j][1])
        if start < end:
            result.append((start, end))
        if ours[i][1] < theirs[j][1]:
            i += 1
        else:
            j += 1
    return result


def without(wanted: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """The instants that are in the first and not in the second."""
    result: list[Range] = []
    gone = merged(taken)
    first = 0
    for start, end in merged(wanted):
        while first < len(gone) and gone[first][1] <= start:
            first += 1
        at = first
        while at < len(gone) and gone[at][0] < end:
            if start < gone[at][0]:
                result.append((start, gone[at][0]))
            start = max(start, gone[at][1])
            at += 1
        if start < end:
            result.append((start, end))
    return result


def joined(ranges: Iterable[Range], wanted: Iterable[Range]) -> list[Range]:
    """Ranges with nothing wanted between them become one: two missing days are one question, the night is no gap."""
    needed = merged(wanted)
    ends = [end for _, end in needed]
    result: list[Range] = []
    for start, end in merged(ranges):
        if result:
            after = bisect_right(ends, result[-1][1])  # the first wanted range that ends behind the gap's begin
            if after == len(needed) or needed[after][0] >= start:
                result[-1] = (result[-1][0], end)
                continue
        result.append((start, end))
    return result
