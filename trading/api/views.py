"""What every endpoint has in common."""

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.parsers import StrictJSONParser
from trading.api.permissions import ScopeAllows
from trading.api.throttling import PerCaller


class DeskEndpoint(APIView):
    """An endpoint of the desk: signed in, within its scope and its rate, reading strict JSON."""

    permission_classes = [IsAuthenticated, ScopeAllows]
    throttle_classes = [PerCaller]
    parser_classes = [StrictJSONParser]

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        if limiter := getattr(getattr(request, "_request", request), "rate_limit", None):
            for name, value in limiter.headers().items():
                response[name] = value
        response.setdefault("Cache-Control", "no-store")
        return response


class Nowhere(APIView):
    """Addresses that do not exist, told as a problem and not as a page."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    parser_classes = [StrictJSONParser]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " Addresses end with a slash."
        raise NotFound(f"There is nothing at this address.{hint}")
