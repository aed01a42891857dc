"""What is read quickly is read as the serializer reads it, and the rest is left to the serializer."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from execution.api.serializers import OrderTicketSerializer, usual_ticket

SERIALIZER = OrderTicketSerializer()
ODD: st.SearchStrategy[Any] = st.sampled_from([
    None, "", " ", "x", 0, -1, 1.5, True, [], {}, "1e3", "NaN", "٣", "10", "00.5", "812.35\n", "99999999999", 10**30,
    "12.34567", "-1", "10000000", "10000000.0001", "0.0000", "NSE:SBIN-EQ ", "NSE:\x00",
])  # fmt: skip
PAISE = st.integers(1, 20_000_000)
PRICE = st.one_of(
    st.decimals("0.0001", "10000000", places=4).map(str), PAISE.map(lambda one: f"{one / 100}"), ODD
)  # fmt: skip
BODY = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["NSE:SBIN-EQ", "NSE:M&M-EQ", "NSE:NIFTY26AUG24000CE"]) | ODD,
        "side": st.sampled_from(["BUY", "SELL"]) | ODD,
        "quantity": st.integers(1, 10_000_000) | ODD,
        "order_type": st.sampled_from(["LIMIT", "MARKET"]) | ODD,
    },
    optional={
        "product": st.sampled_from(["INTRADAY", "DELIVERY"]) | ODD, "limit_price": PRICE, "stop_price": PRICE,
        "target_price": PRICE, "portfolio": st.integers(1, 2**63 - 1) | ODD, "stop_prise": st.just("1"),
    },
)  # fmt: skip


def told(value: Any) -> Any:
    """1.50 is not 1.5, nor 1 True."""
    return (type(value), value.as_tuple() if isinstance(value, Decimal) else value)


@settings(max_examples=150, deadline=None)
@given(BODY)
def test_what_is_read_quickly_is_what_the_serializer_reads(body):
    quick = usual_ticket(body)
    if quick is None:
        return
    try:
        slow = SERIALIZER.run_validation(body)
    except ValidationError as error:
        raise AssertionError(f"the serializer refuses it: {error.detail}") from error
    assert {name: told(one) for name, one in quick.items()} == {name: told(one) for name, one in slow.items()}


def test_the_usual_is_usual():
    body = {"symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": 10, "order_type": "LIMIT", "limit_price": "812.35"}
    assert usual_ticket(body) is not None
    assert usual_ticket({**body, "order_type": "MARKET", "limit_price": None, "portfolio": 3}) is not None
    for name in ("symbol", "side", "quantity", "order_type", "limit_price"):
        assert usual_ticket({key: one for key, one in body.items() if key != name}) is None
