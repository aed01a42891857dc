"""Pages for what went wrong: a code, a sentence, a next step. They need neither database nor session."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string


def _page(request: HttpRequest, status: int) -> HttpResponse:
    name = "errors/_fragment.html" if request.headers.get("HX-Request") else f"errors/{status}.html"
    return HttpResponse(render_to_string(name, {"status": status}), status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 403)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(request, 403)


def broken(request: HttpRequest) -> HttpResponse:
    return _page(request, 500)
