"""What a stored bar says about itself: who said it, and what is doubtful about it."""

from enum import IntEnum, IntFlag
from typing import Final


class Source(IntEnum):
    """Who said it. What we made of ticks ourselves gives way to the others; nothing else is ever overwritten."""

    STREAM = 1
    HISTORY = 2
    IMPORT = 3


class Mark(IntFlag):
    """What is doubtful about a stored bar. The first four make it untrusted, the others are notes."""

    NONE = 0
    OUTLIER = 1  # a price that the bars around it contradict
    MISPLACED = 2  # its time is in doubt: late, early, or labelled by its end
    DISPUTED = 4  # two sources disagree
    BROKEN = 8  # its numbers cannot be what the exchange did
    PREOPEN_VOLUME = 16  # its volume holds what was traded before the open
    NO_VOLUME = 32
    NOISE = 64  # prices of more digits than the exchange has
    CATCH_UP = 128  # its volume holds what was traded while we did not hear


UNTRUSTED: Final = Mark.OUTLIER | Mark.MISPLACED | Mark.DISPUTED | Mark.BROKEN
