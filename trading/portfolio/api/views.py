from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView

from accounts.ownership import OwnedQuerySet
from trading.api.views import DeskEndpoint
from trading.portfolio.api.serializers import PortfolioSerializer
from trading.portfolio.models import Portfolio


@extend_schema_view(get=extend_schema(operation_id="portfolios_list", tags=["portfolios"], summary="Your portfolios"))
class PortfolioList(DeskEndpoint, ListAPIView):
    serializer_class = PortfolioSerializer
    filterset_fields = ("name",)

    def get_queryset(self) -> OwnedQuerySet:
        return Portfolio.objects.for_user(self.request.user).select_related("account")
