"""Accounts at brokers: linking one, signing in, and coming back from the broker's page."""

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import BrokerAccount
from accounts.selectors import accounts_of
from execution.brokers.login import check_sign_in, forget_sign_in, link_account, login_begin, login_finish
from execution.brokers.paper_account import open_paper_account, price_sources_of, rupees_of
from execution.models import EngineLease, PaperBook
from trading.domain.errors import NotAllowed, TradingError
from trading.web.access import ask_again, dialog, signed_in
from trading.web.desk import DeskRequest

Environment = BrokerAccount.Environment
AT_A_BROKER = [(one.value, one.label) for one in (Environment.SANDBOX, Environment.LIVE)]
CASH = "10,00,000"


@require_safe
@signed_in
def settings_home(request: DeskRequest) -> HttpResponse:
    return redirect("web:brokers")


@require_safe
@signed_in
def brokers(request: DeskRequest) -> HttpResponse:
    return render(request, "accounts/brokers.html", _told(request))


def _told(request: DeskRequest) -> dict[str, object]:
    """Every account with its engine, its last errands and the addresses that the broker's own page asks for."""
    accounts = list(accounts_of(request.user))
    books = {book.account_id: book for book in PaperBook.objects.filter(account__in=accounts)}
    engines = {lease.account_id: lease for lease in EngineLease.objects.filter(account__in=accounts)}
    rows = [
        {
            "account": account,
            "engine": engines.get(account.pk),
            "errands": list(account.logins.all()[:3]),
            "postback": request.build_absolute_uri(reverse("api_postback", args=[account.postback_key])),
            "book": books.get(account.pk),
        }
        for account in accounts
    ]
    return {"rows": rows, "callback": _callback_address(request), "wall": timezone.now()}


def _callback_address(request: DeskRequest) -> str:
    return settings.BROKER_REDIRECT_URI or request.build_absolute_uri(reverse("web:broker-callback"))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def link(request: DeskRequest) -> HttpResponse:
    """A new account. What opens money asks for the password or the second factor once more."""
    given = {name: request.POST.get(name, "") for name in ("name", "broker", "environment", "app_id", "secret")}
    context: dict[str, object] = {
        "given": given, "brokers": BrokerAccount.Broker.choices, "environments": AT_A_BROKER,
    }  # fmt: skip
    if not did_recently_reauthenticate(request):
        return ask_again(request, reverse("web:brokers"))
    if request.method != "POST":
        return dialog(request, "accounts/_broker_link.html", context)
    try:
        link_account(owner=request.user, **given)
    except TradingError as error:
        return dialog(request, "accounts/_broker_link.html", context | {"error": error}, status=422)
    return _to_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def open_paper(request: DeskRequest) -> HttpResponse:
    """A paper account on the prices of one of the person's accounts. It opens no money, so nothing more is asked."""
    given = {name: request.POST.get(name, "") for name in ("name", "source", "cash", "slippage", "share")}
    sources = price_sources_of(request.user)
    context: dict[str, object] = {"given": given | {"cash": given["cash"] or CASH}, "sources": sources}
    if request.method != "POST":
        return dialog(request, "accounts/_paper_open.html", context)
    try:
        open_paper_account(
            owner=request.user, name=given["name"],
            price_source_id=int(given["source"]) if given["source"].isdecimal() and len(given["source"]) < 13 else 0,
            opening_cash=rupees_of(given["cash"], code="PAPER_CASH", what="The opening cash"),
            slippage_bps=rupees_of(given["slippage"] or "0", code="PAPER_SLIPPAGE", what="The slippage"),
            volume_share_pct=rupees_of(given["share"], code="PAPER_SHARE", what="The share of the volume")
            if given["share"].strip() else None,
        )  # fmt: skip
    except TradingError as error:
        return dialog(request, "accounts/_paper_open.html", context | {"error": error}, status=422)
    return _to_page(request)


def _to_page(request: DeskRequest) -> HttpResponse:
    if request.htmx:
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = reverse("web:brokers")
        return answer
    return redirect("web:brokers")


@require_POST
@signed_in
def sign_in(request: DeskRequest, account_id: int) -> HttpResponse:
    """Begin an errand and go to the broker's page. The address is one-time, so it is never in a page."""
    account = get_object_or_404(BrokerAccount.objects.for_user(request.user), pk=account_id)
    if not request.session.session_key:
        request.session.save()
    where = login_begin(
        account=account, user=request.user, session_key=request.session.session_key or "",
        redirect_uri=_callback_address(request),
    )  # fmt: skip
    answer = HttpResponse(status=204) if request.htmx else HttpResponseRedirect(where)
    if request.htmx:
        answer["HX-Redirect"] = where
    return answer


@require_safe
@signed_in
def callback(request: DeskRequest) -> HttpResponse:
    """Where the broker sends the person back. The outcome is told on the page of the accounts."""
    query = request.META.get("QUERY_STRING", "")
    if len(query) > 8_000:
        raise NotAllowed("LOGIN_DECLINED", "The broker's answer is too long to be one.")
    account = login_finish(user=request.user, session_key=request.session.session_key or "", query=query)
    return redirect(f"{reverse('web:brokers')}?signed-in={account.pk}")


@require_POST
@signed_in
def check(request: DeskRequest, account_id: int) -> HttpResponse:
    """Ask the broker now whether the sign-in still opens."""
    check_sign_in(get_object_or_404(BrokerAccount.objects.for_user(request.user), pk=account_id))
    return render(request, "accounts/_broker_list.html", _told(request))


@require_POST
@signed_in
def forget(request: DeskRequest, account_id: int) -> HttpResponse:
    account = get_object_or_404(BrokerAccount.objects.for_user(request.user), pk=account_id)
    forget_sign_in(account=account, actor=request.user.get_username())
    return render(request, "accounts/_broker_list.html", _told(request))
