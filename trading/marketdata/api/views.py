"""Market data for programs: the same for everybody who is signed in."""

from datetime import date, datetime

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from trading.api.serializers import ProblemSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.indicators.greeks import years_to
from trading.marketdata.api.serializers import ChainSerializer, ExpiriesSerializer
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed
from trading.marketdata.option_chain import as_rows, chain_at, chain_expiries, greeks_of, parity_spot

REFUSALS = {code: OpenApiResponse(ProblemSerializer) for code in (400, 401, 403, 404, 429)}
UNDERLYING = OpenApiParameter("underlying", str, required=True, description="NIFTY")
EXCHANGE = OpenApiParameter("exchange", str, description="NSE (default), BSE, or SANDBOX for the simulated market")
OLDEST, NEWEST = 1990, 2100  # years within which something may be asked
AT = OpenApiParameter("at", datetime, description="as it was known at this instant (ISO 8601); left out: now")


class OptionChainExpiries(DeskEndpoint):
    @extend_schema(
        operation_id="option_chain_expiries", tags=["market data"], summary="Expiries with a stored chain",
        parameters=[UNDERLYING, EXCHANGE, AT], responses={200: ExpiriesSerializer, **REFUSALS},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        underlying, exchange = _names(request)
        return Response({
            "underlying": underlying, "expiries": chain_expiries(underlying, _at(request), exchange=exchange),
        })  # fmt: skip


class OptionChainDetail(DeskEndpoint):
    @extend_schema(
        operation_id="option_chain", tags=["market data"], summary="One expiry's chain with volatilities and Greeks",
        description="The newest chain that was known at an instant. `stale` says why it should not be traded on.",
        parameters=[UNDERLYING, OpenApiParameter("expiry", date, required=True), EXCHANGE, AT],
        responses={200: ChainSerializer, **REFUSALS},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        underlying, exchange = _names(request)
        expiry = _parsed(parse_date, request.query_params.get("expiry", ""), "expiry")
        if expiry is None:
            raise ValidationError({"expiry": ["A day is needed: 2026-09-29."]})
        now = _at(request)
        seen = chain_at(underlying, expiry, now, exchange=exchange)
        if seen is None:
            raise NotFound("NO_CHAIN", f"there is no chain of {underlying} {expiry} at that instant")
        row, chain = seen.snapshot, seen.chain
        spot = float(row.spot) if row.spot is not None else parity_spot(chain, years=years_to(row.exchange_at, now))
        greeks = greeks_of(chain, spot=spot, expiry=expiry, now=row.exchange_at) if spot else None
        return Response({
            "underlying": underlying, "exchange": exchange, "expiry": expiry, "source": row.source,
            "exchange_at": row.exchange_at, "stored_at": row.stored_at, "repeats": row.repeats, "stale": seen.stale,
            "spot": spot, "put_call_ratio": row.put_call_ratio, "max_pain": chain.max_pain,
            "rows": as_rows(chain, greeks),
        })  # fmt: skip


def _names(request: Request) -> tuple[str, str]:
    underlying = request.query_params.get("underlying", "").strip().upper()[:40]
    exchange = request.query_params.get("exchange", "NSE").strip().upper()[:8]
    if not underlying or not underlying.isprintable():
        raise ValidationError({"underlying": ["Which underlying? For example NIFTY."]})
    if not exchange.isprintable():
        raise ValidationError({"exchange": ["Which exchange? NSE, BSE or SANDBOX."]})
    return underlying, exchange


def _at(request: Request) -> datetime:
    given = request.query_params.get("at", "")
    if not given:
        simulated = _names(request)[1] == "SANDBOX"
        feed = Feed.objects.filter(kind=Feed.Kind.SANDBOX).order_by("pk").first() if simulated else None
        return venue_now(feed.name if feed else "NSE")
    found = _parsed(parse_datetime, given.replace(" ", "+"), "at")
    if found is None or found.tzinfo is None or not OLDEST <= found.year <= NEWEST:
        raise ValidationError({"at": ["An instant with its zone is needed: 2026-09-29T10:00:00+05:30."]})
    return found


def _parsed(parse, text: str, name: str):  # type: ignore[no-untyped-def]
    try:
        return parse(text)
    except ValueError:
        raise ValidationError({name: [f"{text[:40]!r} does not exist."]}) from None
