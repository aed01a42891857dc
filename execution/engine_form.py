"""Settings of the signal engine and its ladders as forms: what a person types becomes the values of a new version."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db import models

from execution.engine_settings import Change, changes
from execution.ladder_plans import ladders_for
from execution.models import EngineSettings, LadderPlan
from risk.policy_form import label_of
from strategies.tactics.ladder import MOST_RUNGS
from strategies.tactics.ranking import RULES
from trading.portfolio.models import Portfolio

RULE_WORDS = {
    "continuation": "Adds to a trade that is live", "deepest_loss": "Market furthest beyond its entry",
    "replacements": "Replaced most often", "expected_profit": "Expects the most", "oldest": "Waits longest",
}  # fmt: skip
PLACES = tuple(f"ranking_{place}" for place in range(1, len(RULES) + 1))
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Pool", ("max_open_groups",)),
    ("Queue", ("queue_size", "queue_ttl_s")),
    ("Who gets the next slot", PLACES),
    ("Building up", ("ladder", "max_pyramids", "pyramid_pct", "min_notional_rupees", "metadata_max_age_h")),
    ("An entry that does not fill", ("chase_after_s", "chase_times", "chase_reach_pct")),
    ("A large entry of a contract", (
        "work_style", "work_from_rupees", "work_minutes", "work_slices", "work_visible_pct",
    )),
    ("Taking profit", ("take_profit", "aggregate_target_pct")),
    ("Winners pay for a loser", (
        "offset_enabled", "offset_pyramids", "offset_timer", "offset_wait_s", "offset_reset_on_replacement",
        "offset_loss_pct", "offset_min_age_s", "offset_max_winners", "offset_min_close_rupees", "offset_every_s",
    )),
    ("Slippage of a close", ("slippage_guard_pct", "slippage_action")),
)  # fmt: skip
LABELS = {
    "max_open_groups": "Slots", "queue_size": "Places", "queue_ttl_s": "Longest wait, s",
    "pyramid_pct": "Pyramid size, %", "max_pyramids": "Pyramids at most", "min_notional_rupees": "Smallest order, ₹",
    "chase_after_s": "Waits, s", "chase_times": "Re-priced at most", "chase_reach_pct": "Reach, %",
    "work_style": "Is sent", "work_from_rupees": "Large from, ₹", "work_minutes": "Over, minutes",
    "work_slices": "Children", "work_visible_pct": "Shown, %",
    "offset_enabled": "Switched on",
    "aggregate_target_pct": "Target of the whole, %", "offset_pyramids": "Pyramids of a loser",
    "offset_timer": "Its wait begins when", "offset_reset_on_replacement": "Begins anew on replacement",
    "offset_loss_pct": "Loss from, %", "offset_min_age_s": "Age from, s", "offset_max_winners": "Winners at most",
    "offset_min_close_rupees": "Smallest close, ₹", "offset_every_s": "Looks every, s", "slippage_action": "Beyond it",
}  # fmt: skip
ORDINALS = ("First", "Then", "Then", "Then", "Last")


def changes_in_words(before: EngineSettings, after: EngineSettings) -> list[Change]:
    """What differs between two versions, named and worded as on the form."""
    return [
        Change(_label_in_words(one.name), _value_in_words(before, one.name, one.was),
               _value_in_words(after, one.name, one.now))
        for one in changes(before, after)
    ]  # fmt: skip


def _label_in_words(name: str) -> str:
    if name == "ranking":
        return "Who gets the next slot"
    group = next((title for title, names in GROUPS if name in names), "")
    plain = LABELS.get(name) or label_of(name.removeprefix("offset_"))
    return f"{group}: {plain}" if group else plain


def _value_in_words(settings: EngineSettings, name: str, written: str) -> str:
    if name == "ranking":
        return ", ".join(RULE_WORDS[rule].lower() for rule in settings.ranking)
    field = EngineSettings._meta.get_field(name)
    if isinstance(field, models.BooleanField):
        return "yes" if getattr(settings, name) else "no"
    return str(getattr(settings, f"get_{name}_display")()) if getattr(field, "choices", None) else written


class SettingsForm(forms.ModelForm):
    """Ranges are the fields' own; what contradicts is found when the version is drafted."""

    class Meta:
        model = EngineSettings
        fields = tuple(name for _, names in GROUPS for name in names if name not in PLACES)

    def __init__(self, *args: Any, portfolio: Portfolio | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now: EngineSettings = kwargs["instance"]
        choices = [("", "nothing more"), *((rule, RULE_WORDS[rule]) for rule in RULES)]
        for place, name in enumerate(PLACES):
            self.fields[name] = forms.ChoiceField(choices=choices, required=False)
            self.initial[name] = now.ranking[place] if place < len(now.ranking) else ""
        plans = list(ladders_for(portfolio.pk if portfolio else None))
        if now.ladder not in plans:
            plans.insert(0, now.ladder)
        self.fields["ladder"] = forms.ChoiceField(choices=[(one.name, _ladder_words(one)) for one in plans])
        self.initial["ladder"] = now.ladder.name
        for name, bound in self.fields.items():
            plain = LABELS.get(name) or label_of(name.removeprefix("offset_"))
            bound.label = ORDINALS[PLACES.index(name)] if name in PLACES else plain
            bound.help_text = bound.help_text or ("how a hook's trade is built up" if name == "ladder" else "")
            if isinstance(bound, forms.DecimalField | forms.IntegerField):
                bound.widget = forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"})
                value = self.initial.get(name)
                self.initial[name] = (
                    None if value is None else f"{value.normalize():f}" if name not in _WHOLE else value
                )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        rules = [cleaned.pop(name) for name in PLACES if name in cleaned]
        cleaned["ranking"] = [rule for rule in rules if rule]
        if not cleaned["ranking"]:
            self.add_error(PLACES[0], "One rule at least.")
        elif len(set(cleaned["ranking"])) != len(cleaned["ranking"]):
            self.add_error(PLACES[0], "Each rule once.")
        return cleaned

    def _post_clean(self) -> None:
        """The version is checked as a whole when it is drafted, not field by field on the old row."""

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in GROUPS]


_WHOLE = frozenset(
    field.name for field in EngineSettings._meta.fields if field.get_internal_type() == "PositiveIntegerField"
)


def _ladder_words(plan: LadderPlan) -> str:
    legs = len(plan.rungs)
    return f"{plan.name} ({legs} leg{'s' if legs != 1 else ''}{'' if plan.portfolio_id else ', house'})"


# -- a ladder ----------------------------------------------------------------------------------------------------------

COLUMNS = ("gap_pct", "weight_pct", "take_profit_pct")


def rungs_typed(given: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """The rungs of a form's table, empty rows left out: fields are named `gap_pct-0` and so on."""
    rungs = []
    for row in range(MOST_RUNGS):
        rung = {column: str(given.get(f"{prefix}{column}-{row}", "")).strip() for column in COLUMNS}
        if any(rung.values()):
            rungs.append(rung)
    return rungs


def rungs_shown(rungs: list[dict[str, str]]) -> list[dict[str, str]]:
    """As many rows as a ladder may have, the rest of them empty."""
    return [*rungs, *({} for _ in range(MOST_RUNGS - len(rungs)))][:MOST_RUNGS]
