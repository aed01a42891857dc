"""Paper and real money never meet: each order says in the first letter of its tag which of the two it is for."""

from execution.brokers.port import Refused
from trading.domain.orders import OrderRequest

LIVE, PAPER = "L", "P"


def of_other_environment(request: OrderRequest, *, live: bool) -> Refused | None:
    """The last door before a wire. Real money takes what is marked for it and nothing else; a sandbox and a paper
    account take nothing that is."""
    letter = request.client_order_id[:1]
    if (letter == LIVE) is live:
        return None
    place = "real money" if live else "paper"
    return Refused("OTHER_ENVIRONMENT", f"The tag {request.client_order_id} is not that of an order for {place}.")
