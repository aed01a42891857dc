"""How well orders were carried out: slippage, latency by stage, what filled; down to the single order."""

from datetime import date, timedelta

from django import forms
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from execution.quality import (
    DIMENSIONS,
    LONGEST_DAYS,
    USUAL_DAYS,
    Scope,
    Sort,
    orders_of,
    quality,
    quality_file,
    quality_of_all,
)
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

SORTS: dict[Sort, str] = {
    "slippage": "Dearest", "wire": "Slowest to the wire", "ack": "Slowest acknowledged", "fill": "Slowest to fill",
    "newest": "Newest",
}  # fmt: skip


class ScopeForm(forms.Form):
    """Which days, whose, and by what. What is left out is the last thirty days of the chosen portfolio, by strategy."""

    since = forms.DateField(required=False)
    until = forms.DateField(required=False)
    whose = forms.ChoiceField(choices=[("one", "this portfolio"), ("all", "all of mine")], required=False)
    by = forms.ChoiceField(choices=[(name, heading) for name, (heading, _, _) in DIMENSIONS.items()], required=False)
    key = forms.CharField(max_length=80, required=False)
    sort = forms.ChoiceField(choices=list(SORTS.items()), required=False)

    def clean(self) -> dict[str, object]:
        given = super().clean() or {}
        since, until = given.get("since"), given.get("until")
        if since and until and since > until:
            self.add_error("until", "The last day is before the first.")
        elif since and until and (until - since).days > LONGEST_DAYS:
            self.add_error("until", "Three years at most.")
        return given


def _asked(request: DeskRequest) -> tuple[ScopeForm, Scope, dict[str, str]]:
    """The form as given, the scope it means (the usual one where it is wrong), and the rest of it as plain values."""
    desk = request.desk
    if desk.portfolio is None:
        raise Http404
    form = ScopeForm(request.GET)
    given = form.cleaned_data if form.is_valid() else {}
    until: date = given.get("until") or max(desk.today, given.get("since") or desk.today)
    since: date = given.get("since") or until - timedelta(days=USUAL_DAYS - 1)
    whose = given.get("whose") or "one"
    mine = tuple(one.pk for one in desk.portfolios) if whose == "all" else (desk.portfolio.pk,)
    rest = {
        "whose": whose, "by": given.get("by") or "strategy", "key": given.get("key") or "",
        "sort": given.get("sort") or "slippage",
    }  # fmt: skip
    return form, Scope(mine, since, until), rest


@require_safe
@signed_in
def execution_quality(request: DeskRequest) -> HttpResponse:
    """The whole page; `by` chooses what the lines are, `key` one of them, `sort` which single orders are shown."""
    if request.desk.portfolio is None:
        return render(request, "dashboard/no_portfolio.html")
    form, scope, rest = _asked(request)
    by, key = rest["by"], rest["key"]
    lines = quality(scope, by=by)
    plain = {"since": scope.since.isoformat(), "until": scope.until.isoformat(), "whose": rest["whose"]}
    return render(request, "execution/quality.html", {
        "form": form, "scope": scope, "chosen": rest, "all": quality_of_all(scope), "lines": lines,
        "heading": DIMENSIONS[by][0], "line": next((one for one in lines if one.key == key), None),
        "orders": orders_of(scope, by=by, key=key, sort=rest["sort"]),  # type: ignore[arg-type]
        "dimensions": [(name, words, name == by) for name, (words, _, _) in DIMENSIONS.items()],
        "sorts": [(name, words, name == rest["sort"]) for name, words in SORTS.items()],
        "query": urlencode(plain), "several": len(request.desk.portfolios) > 1,
    })  # fmt: skip


@require_safe
@signed_in
def quality_series(request: DeskRequest) -> JsonResponse:
    """Columns for the charts: by day the slippage and the latency, by hour the slippage. None where nothing was."""
    _, scope, _ = _asked(request)
    days, hours = quality(scope, by="day"), quality(scope, by="hour")
    return JsonResponse({
        "days": [date.fromisoformat(one.key).toordinal() - date(1970, 1, 1).toordinal() for one in days],
        "slippage": [one.arrival_bps.p50 for one in days], "slippage_p95": [one.arrival_bps.p95 for one in days],
        "wire": [one.wire_ms.p50 for one in days], "wire_p95": [one.wire_ms.p95 for one in days],
        "ack": [one.ack_ms.p50 for one in days], "ack_p95": [one.ack_ms.p95 for one in days],
        "hours": [int(one.key) for one in hours], "by_hour": [one.arrival_bps.p50 for one in hours],
        "by_hour_p95": [one.arrival_bps.p95 for one in hours], "orders": [one.orders for one in hours],
    })  # fmt: skip


@require_safe
@signed_in
def quality_csv(request: DeskRequest) -> HttpResponse:
    """Every order of the scope with all that was measured of it."""
    _, scope, _ = _asked(request)
    answer = HttpResponse(quality_file(scope), content_type="text/csv; charset=utf-8")
    name = f"execution-{scope.since.isoformat()}-{scope.until.isoformat()}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
