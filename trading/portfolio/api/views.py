from datetime import date
from typing import Any, cast

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.ownership import OwnedQuerySet
from trading.api.serializers import ProblemSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.clocks import venue_now
from trading.portfolio import watchlists
from trading.portfolio.api.serializers import (
    BookedChargesSerializer,
    ContractNoteSerializer,
    PortfolioSerializer,
    WatchlistNameSerializer,
    WatchlistOrderSerializer,
    WatchlistSerializer,
    WatchlistSymbolSerializer,
)
from trading.portfolio.models import Portfolio, Watchlist
from trading.portfolio.true_up import booked_lines, note_of, true_up_charges

REFUSALS = {code: OpenApiResponse(ProblemSerializer) for code in (400, 401, 403, 404, 409, 422, 429)}


@extend_schema_view(get=extend_schema(operation_id="portfolios_list", tags=["portfolios"], summary="Your portfolios"))
class PortfolioList(DeskEndpoint, ListAPIView):
    serializer_class = PortfolioSerializer
    filterset_fields = ("name",)

    def get_queryset(self) -> OwnedQuerySet:
        return Portfolio.objects.for_user(self.request.user).select_related("account")


@extend_schema(tags=["portfolios"])
class ContractNotes(DeskEndpoint):
    """The charges of a day, and what the contract note says of them."""

    @extend_schema(
        operation_id="contract_notes_read", summary="The charges that are booked for a day",
        parameters=[OpenApiParameter("day", date, required=True, description="exchange day")],
        responses={200: BookedChargesSerializer, **REFUSALS},
    )  # fmt: skip
    def get(self, request: Request, portfolio_id: int) -> Response:
        portfolio = _portfolio(request, portfolio_id)
        try:
            day = date.fromisoformat(request.query_params.get("day", ""))
        except ValueError as error:
            raise NotAllowed("DAY", "Which day? day=YYYY-MM-DD") from error
        return Response(_booked(portfolio, day, corrected=False))

    @extend_schema(
        operation_id="contract_notes_create", summary="Make a day's charges what its contract note says",
        description="The difference is posted as an entry of its own. The same note twice corrects once: 200.",
        request=ContractNoteSerializer,
        responses={200: BookedChargesSerializer, 201: BookedChargesSerializer, **REFUSALS},
    )  # fmt: skip
    def post(self, request: Request, portfolio_id: int) -> Response:
        portfolio = _portfolio(request, portfolio_id)
        given = _given(ContractNoteSerializer, request)
        posted = true_up_charges(
            portfolio_id=portfolio.pk, day=given["day"], note=note_of(given["lines"]), reference=given["reference"],
            actor=_owner(request).get_username(), now=venue_now(portfolio.account.feed),
        )  # fmt: skip
        code = status.HTTP_201_CREATED if posted is not None else status.HTTP_200_OK
        return Response(_booked(portfolio, given["day"], corrected=posted is not None), status=code)


def _portfolio(request: Request, portfolio_id: int) -> Portfolio:
    portfolio: Portfolio | None = (
        Portfolio.objects.for_user(request.user).select_related("account").filter(pk=portfolio_id).first()
    )
    if portfolio is None:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    return portfolio


def _booked(portfolio: Portfolio, day: date, *, corrected: bool) -> dict[str, Any]:
    lines = booked_lines(portfolio.pk, day)
    told = {"day": day, "lines": lines, "total": sum(lines.values()), "corrected": corrected}
    return dict(BookedChargesSerializer(told).data)


def _mine(request: Request) -> OwnedQuerySet[Watchlist]:
    return Watchlist.objects.for_user(request.user).prefetch_related("items__instrument")


def _owner(request: Request) -> User:
    return cast(User, request.user)  # nobody else passes the door of an endpoint


def _shown(request: Request, watchlist_id: int, code: int = status.HTTP_200_OK) -> Response:
    """A list as it is now. Raises NotFound for what is not there, or another's."""
    watchlist = _mine(request).filter(pk=watchlist_id).first()
    if watchlist is None:
        raise NotFound("WATCHLIST_NOT_FOUND", "There is no such watchlist.")
    return Response(WatchlistSerializer(watchlist).data, status=code)


def _given(serializer: Any, request: Request) -> dict[str, Any]:
    read = serializer(data=request.data)
    read.is_valid(raise_exception=True)
    return read.validated_data


@extend_schema(tags=["watchlists"])
class Watchlists(DeskEndpoint, ListAPIView):
    serializer_class = WatchlistSerializer

    def get_queryset(self) -> OwnedQuerySet:
        return _mine(self.request)

    @extend_schema(operation_id="watchlists_list", summary="Your watchlists, each with its instruments in order")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="watchlists_create", summary="Make a watchlist",
        description="A name that is taken gives the list that has it: asking twice makes one list.",
        request=WatchlistNameSerializer, responses={201: WatchlistSerializer, **REFUSALS},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        made = watchlists.watchlist_create(owner=_owner(request), **_given(WatchlistNameSerializer, request))
        return _shown(request, made.pk, status.HTTP_201_CREATED)


@extend_schema(tags=["watchlists"])
class WatchlistDetail(DeskEndpoint):
    @extend_schema(
        operation_id="watchlists_read", summary="One watchlist", responses={200: WatchlistSerializer, **REFUSALS}
    )
    def get(self, request: Request, watchlist_id: int) -> Response:
        return _shown(request, watchlist_id)

    @extend_schema(
        operation_id="watchlists_rename", summary="Rename a watchlist",
        request=WatchlistNameSerializer, responses={200: WatchlistSerializer, **REFUSALS},
    )  # fmt: skip
    def patch(self, request: Request, watchlist_id: int) -> Response:
        _shown(request, watchlist_id)
        given = _given(WatchlistNameSerializer, request)
        watchlists.watchlist_rename(owner=_owner(request), watchlist_id=watchlist_id, **given)
        return _shown(request, watchlist_id)

    @extend_schema(operation_id="watchlists_delete", summary="Delete a watchlist", responses={204: None, **REFUSALS})
    def delete(self, request: Request, watchlist_id: int) -> Response:
        watchlists.watchlist_delete(owner=_owner(request), watchlist_id=watchlist_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(tags=["watchlists"])
class WatchlistItems(DeskEndpoint):
    @extend_schema(
        operation_id="watchlists_add", summary="Put an instrument at the end of a watchlist",
        description="An instrument that is in the list stays where it is.",
        request=WatchlistSymbolSerializer, responses={201: WatchlistSerializer, **REFUSALS},
    )  # fmt: skip
    def post(self, request: Request, watchlist_id: int) -> Response:
        _shown(request, watchlist_id)
        given = _given(WatchlistSymbolSerializer, request)
        watchlists.watchlist_add(owner=_owner(request), watchlist_id=watchlist_id, **given)
        return _shown(request, watchlist_id, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="watchlists_arrange", summary="Put a watchlist into another order",
        description="Name every instrument of the list once. 409 when the list has changed meanwhile.",
        request=WatchlistOrderSerializer, responses={200: WatchlistSerializer, **REFUSALS},
    )  # fmt: skip
    def put(self, request: Request, watchlist_id: int) -> Response:
        _shown(request, watchlist_id)
        given = _given(WatchlistOrderSerializer, request)
        watchlists.watchlist_arrange(owner=_owner(request), watchlist_id=watchlist_id, **given)
        return _shown(request, watchlist_id)


@extend_schema(tags=["watchlists"])
class WatchlistItem(DeskEndpoint):
    @extend_schema(
        operation_id="watchlists_remove", summary="Take an instrument out of a watchlist",
        description="Taking out what is not in it changes nothing.", responses={200: WatchlistSerializer, **REFUSALS},
    )  # fmt: skip
    def delete(self, request: Request, watchlist_id: int, symbol: str) -> Response:
        watchlists.watchlist_remove(owner=_owner(request), watchlist_id=watchlist_id, symbol=symbol)
        return _shown(request, watchlist_id)
