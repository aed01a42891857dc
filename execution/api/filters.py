from django_filters import rest_framework as filters

from execution.models import Order
from execution.states import OrderState
from strategies.models import Signal
from trading.domain.orders import Reason, Side
from trading.portfolio.models import Position

SIDES = [(side.value, side.value) for side in Side]


class OrderFilter(filters.FilterSet):
    symbol = filters.CharFilter(field_name="instrument__symbol", max_length=60)
    state = filters.MultipleChoiceFilter(choices=[(state.value, state.value) for state in OrderState])
    side = filters.ChoiceFilter(choices=SIDES)
    reason = filters.ChoiceFilter(choices=[(reason.value, reason.value) for reason in Reason])
    portfolio = filters.NumberFilter(field_name="portfolio_id", min_value=1)
    group = filters.UUIDFilter(field_name="group_id")
    intent = filters.UUIDFilter(field_name="intent_id", help_text="all orders that one wish became")
    live = filters.BooleanFilter(method="only_live", help_text="true: orders that may still trade")
    placed_after = filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="gte")
    placed_before = filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields: list[str] = []

    def only_live(self, orders, name: str, wanted: bool):
        return orders.live() if wanted else orders.exclude(pk__in=orders.live().values("pk"))


class SignalFilter(filters.FilterSet):
    symbol = filters.CharFilter(field_name="instrument__symbol", max_length=60)
    side = filters.ChoiceFilter(choices=SIDES)
    state = filters.ChoiceFilter(choices=Signal.State.choices)
    portfolio = filters.NumberFilter(field_name="portfolio_id", min_value=1)

    class Meta:
        model = Signal
        fields: list[str] = []


class PositionFilter(filters.FilterSet):
    symbol = filters.CharFilter(field_name="instrument__symbol", max_length=60)
    portfolio = filters.NumberFilter(field_name="portfolio_id", min_value=1)
    open = filters.BooleanFilter(method="only_open", help_text="true: without flat positions")

    class Meta:
        model = Position
        fields: list[str] = []

    def only_open(self, positions, name: str, wanted: bool):
        return positions.exclude(net_quantity=0) if wanted else positions.filter(net_quantity=0)
