"""The door of every page: who is asking, and how a refusal is put into words."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.views.decorators.cache import never_cache

from trading.domain.errors import Conflict, NotAllowed, NotFound, TradingError
from trading.web.desk import Desk, DeskRequest

View = Callable[..., HttpResponse]
NEXT_STEPS: tuple[tuple[type[TradingError], int, str], ...] = (
    (NotFound, 404, "Go back to the list: it may have been closed, or it was never yours."),
    (Conflict, 409, "Somebody or something moved first: look at its newest state, then decide again."),
    (NotAllowed, 422, "Nothing was changed. Correct what the sentence names, then try again."),
    (TradingError, 422, "Nothing was changed. The alerts and the engine's state may say more."),
)


def signed_in(view: View) -> View:
    """For people who are signed in, who see their desk as `request.desk`. A refusal becomes a page, not a crash."""

    @never_cache
    @wraps(view)
    def guarded(request: DeskRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        request.desk = Desk(request)
        try:
            return view(request, *args, **kwargs)
        except TradingError as error:
            return problem(request, error)

    return guarded


def _to_sign_in(request: DeskRequest) -> HttpResponse:
    if not request.htmx and not request.path.startswith("/desk/"):
        return redirect_to_login(request.get_full_path())
    # A fragment must not become a sign-in form inside a table: the whole page goes there.
    answer = HttpResponse("Sign in to go on.", status=401, content_type="text/plain")
    answer["HX-Redirect"] = resolve_url("account_login")
    return answer


def problem(request: DeskRequest, error: TradingError) -> HttpResponse:
    """Code, sentence, next step; as a dialog when a button asked, else as a page."""
    status, next_step = next((status, words) for kind, status, words in NEXT_STEPS if isinstance(error, kind))
    context = {"error": error, "next_step": error.numbers.get("next_step") or next_step}
    name = "components/_problem_dialog.html" if request.htmx else "errors/problem.html"
    answer = render(request, name, context, status=status)
    if request.htmx:  # wherever the button's own answer was meant to go
        answer["HX-Retarget"], answer["HX-Reswap"] = "#dialog-body", "innerHTML"
    return answer


def dialog(
    request: DeskRequest, template: str, context: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    """A question or its progress: inside the page's dialog when a button asked, as a page of its own otherwise."""
    if request.htmx:
        return render(request, template, context, status=status)
    return render(request, "components/dialog_page.html", {**(context or {}), "dialog": template}, status=status)


def ask_again(request: DeskRequest, back: str) -> HttpResponse:
    """To the password or the second factor once more, then `back`: for what opens money."""
    where = f"{reverse('account_reauthenticate')}?next={back}"
    if request.htmx:
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = where
        return answer
    return HttpResponseRedirect(where)
