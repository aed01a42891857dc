"""Words that take a refusal back: the broker itself is not sure and sends us to the book.

A reply that says "order request timed out" with a status of refusal has been seen to trade seconds later.
"""

import re

_DOUBT = re.compile(
    r"time[ds]?[ -]?out|order ?book|no (?:acknowledge?ment|response|reply)|not (?:been )?(?:received|confirmed)"
    r"|in process|try again|unable to (?:reach|connect)|gateway|internal",
    re.IGNORECASE,
)


def is_doubtful(message: str) -> bool:
    """True where the sentence of a refusal leaves open whether the order was taken."""
    return bool(_DOUBT.search(message))
