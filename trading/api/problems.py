"""Every error as problem details (RFC 9457): a stable code for programs, a sentence for people, and the numbers."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from trading.domain.errors import Conflict, IllegalTransition, NotAllowed, NotFound, TradingError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS_OF: dict[type[TradingError], int] = {
    NotAllowed: 422,
    NotFound: 404,
    Conflict: 409,
    IllegalTransition: 409,
}


def problem_body(*, status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The members of one problem; `more` are extra ones."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return body | more


def problem(*, status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """One problem. `more` are extra members: `errors`, `numbers`, `intent`."""
    body = problem_body(status=status, code=code, detail=detail, **more)
    return Response(body, status=status, headers=headers, content_type=MEDIA_TYPE)


def status_of(error: TradingError) -> int:
    return next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 422)


def of_trading_error(error: TradingError) -> Response:
    numbers = {name: value if isinstance(value, int | None) else str(value) for name, value in error.numbers.items()}
    more: dict[str, Any] = {"numbers": numbers} if numbers else {}
    return problem(status=status_of(error), code=error.code, detail=error.message, **more)


def _field_errors(detail: Any, field: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested lists and dicts, as a flat list of field, code and message."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            path = field if name == "non_field_errors" else f"{field}.{name}".lstrip(".")
            yield from _field_errors(inner, path)
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _field_errors(inner, field)
    else:
        yield {"field": field, "code": str(getattr(detail, "code", "invalid")).upper(), "message": str(detail)}


def _of_api_exception(error: exceptions.APIException) -> Response:
    headers: dict[str, str] = {}
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(max(1, int(wait)))
    if isinstance(error, exceptions.ValidationError):
        errors = list(_field_errors(error.detail))
        first = errors[0] if errors else {"field": "", "message": "The request is not valid."}
        sentence = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        return problem(status=400, code="INVALID_REQUEST", detail=sentence, headers=headers, errors=errors)
    detail = error.detail
    code = str(getattr(detail, "code", error.default_code)).upper()
    return problem(status=error.status_code, code=code, detail=str(detail), headers=headers)


def handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler. What nobody foresaw is logged with its traceback and told without it."""
    if isinstance(error, TradingError):
        response = of_trading_error(error)
    elif isinstance(error, Http404):
        response = problem(status=404, code="NOT_FOUND", detail="There is no such thing, or it is not yours.")
    elif isinstance(error, PermissionDenied):
        response = problem(status=403, code="PERMISSION_DENIED", detail="You may not do this.")
    elif isinstance(error, exceptions.APIException):
        response = _of_api_exception(error)
    else:
        request = getattr(context.get("request"), "_request", None)
        got_request_exception.send(sender=handler, request=request)
        logger.error("an endpoint failed", exc_info=error)
        response = problem(status=500, code="INTERNAL_ERROR", detail="Something went wrong on our side.")
    set_rollback()
    return response
