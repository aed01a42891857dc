"""The operators' view of execution quality: everybody's orders, by portfolio or by what a person's own page knows."""

from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone

from execution.quality import BEYOND, DIMENSIONS, USUAL_DAYS, Scope, orders_of, quality, quality_of_all
from trading.portfolio.models import Portfolio

LINES = {name: words for name, (words, _, _) in (BEYOND | DIMENSIONS).items() if name != "all"}


class QualityForm(forms.Form):
    """Days of the market and what the lines are; left out: the last thirty days of everybody, by portfolio."""

    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    by = forms.ChoiceField(choices=list(LINES.items()), required=False)
    portfolio = forms.ModelChoiceField(
        Portfolio.objects.order_by("name", "pk"), required=False, empty_label="everybody"
    )


def quality_context(request: HttpRequest) -> dict[str, Any]:
    """What the page shows; a field that is wrong counts as left out, and says what is wrong with it."""
    form = QualityForm(request.GET)
    form.is_valid()
    given = form.cleaned_data
    until = given.get("until") or timezone.localdate()
    since = given.get("since") or until - timedelta(days=USUAL_DAYS - 1)
    only, by = given.get("portfolio"), given.get("by") or "portfolio"
    whose = [only.pk] if only else Portfolio.objects.values_list("pk", flat=True)
    scope = Scope(tuple(whose), since, until)
    return {
        "title": "Execution quality", "form": form, "heading": LINES[by], "lines": quality(scope, by=by),
        "since": since, "until": until, "all": quality_of_all(scope), "orders": orders_of(scope),
    }  # fmt: skip
