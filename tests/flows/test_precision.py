"""A few alerts of the precision walk of `make prove`, over the real sandbox exchange; and that it sees a fault."""

from decimal import Decimal

from execution.models import Order
from tests.prove.precise import precise_desk
from trading.marketdata.models import Instrument


def test_no_order_of_random_alerts_is_one_that_the_exchange_does_not_take(transactional_db, valkey):
    with precise_desk(1) as desk:
        desk.walk(4)
        assert desk.sent() >= 4 and Order.objects.count() >= 4
        assert not desk.wrong()
        share = Instrument.objects.get(symbol=desk.desk.gateway.orders()[0].symbol)
        for one in desk.shares:
            if one.pk == share.pk:
                one.tick_size, one.lot_size, one.freeze_quantity = Decimal("7.77"), 7_777_777, 1
        told = " ".join(desk.wrong())
        assert "not on the tick" in told and "no multiple of 7777777" in told and "above the freeze quantity" in told
