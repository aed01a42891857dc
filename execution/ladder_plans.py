"""Ladders are rows that never change: another ladder under a known name is a new row, and trades keep the one they
began with."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from execution.models import LadderPlan
from strategies.tactics.ladder import rungs_of
from trading.domain.errors import NotAllowed
from trading.portfolio.models import Portfolio

CONTENT = ("rungs", "overrides", "stop_pct")


def ladders_for(portfolio_id: int | None) -> QuerySet[LadderPlan]:
    """The ladders a portfolio may use, its own before the house's; for None those of the house alone."""
    plans = LadderPlan.objects.filter(retired_at=None).filter(Q(portfolio=portfolio_id) | Q(portfolio=None))
    return plans.select_related("portfolio").order_by(F("portfolio").asc(nulls_last=True), "name")


def ladder_named(portfolio_id: int | None, name: str) -> LadderPlan:
    """The portfolio's own ladder of that name, else the house's. NotAllowed (LADDER_UNKNOWN) where there is none."""
    plan = ladders_for(portfolio_id).filter(name=name).first() if name.isprintable() else None
    if plan is None:
        raise NotAllowed("LADDER_UNKNOWN", f"There is no ladder called {name[:60]}.")
    return plan


def draft_ladder(
    *, portfolio: Portfolio | None, name: str, rungs: object, overrides: object = None, stop_pct: Any = None,
    actor: str = "draft",
) -> LadderPlan:  # fmt: skip
    """The row that these values would make, checked and not stored. NotAllowed (LADDER) says field by field what is
    wrong; `fields` has it by name."""
    plan = LadderPlan(
        portfolio=portfolio, name=name.strip(), rungs=rungs, overrides=overrides or {}, stop_pct=stop_pct or None,
        created_by=actor[:150],
    )  # fmt: skip
    try:
        if not plan.name.isprintable():
            raise ValidationError({"name": "A name is written in letters and figures."})
        plan.full_clean(validate_constraints=False, validate_unique=False)
    except ValidationError as error:
        words = "; ".join(" ".join(messages) for messages in error.message_dict.values())
        raise NotAllowed("LADDER", words, fields=error.message_dict) from error
    plan.rungs = _plain(plan.rungs)
    plan.overrides = {str(int(index)): _plain(own) for index, own in sorted(plan.overrides.items())}
    return plan


def store_ladder(draft: LadderPlan) -> tuple[LadderPlan, LadderPlan | None]:
    """Keep a draft under its name: (the plan in force, the one it took the place of). The same content again is the
    plan that is there. The caller holds the lock of the settings."""
    known = LadderPlan.objects.filter(portfolio=draft.portfolio_id, name=draft.name, retired_at=None).first()
    if known is not None and same_ladder(known, draft):
        return known, None
    if known is not None:
        LadderPlan.objects.filter(pk=known.pk).update(retired_at=timezone.now())
    draft.save()
    return draft, known


def same_ladder(one: LadderPlan, other: LadderPlan) -> bool:
    """Whether two plans build a trade in the same way, whatever they are called and however their numbers are
    written."""
    if one.stop_pct != other.stop_pct or set(one.overrides) != set(other.overrides):
        return False
    pyramids = [0, *(int(index) for index in one.overrides)]
    same = rungs_of(one.rungs) == rungs_of(other.rungs)
    return same and all(one.rungs_for(index) == other.rungs_for(index) for index in pyramids)


def ladder_content(plan: LadderPlan) -> dict[str, Any]:
    """A plan as plain values, as `draft_ladder` takes them."""
    stop = None if plan.stop_pct is None else str(plan.stop_pct.normalize())
    return {"name": plan.name, "rungs": plan.rungs, "overrides": plan.overrides, "stop_pct": stop}


def drafts_from(given: object, *, portfolio: Portfolio | None) -> list[LadderPlan]:
    """Drafts of the ladders in a file. NotAllowed (SETTINGS_FILE) for what is no list of them, (LADDER) for a wrong
    one."""
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise NotAllowed("SETTINGS_FILE", "The ladders of the file are no list of ladders.")
    drafts = []
    for one in given:
        unknown = set(one) - {"name", *CONTENT}
        if unknown or not isinstance(one.get("name"), str):
            raise NotAllowed("SETTINGS_FILE", f"A ladder has a name, {', '.join(CONTENT)}, and nothing else.")
        values = {name: one.get(name) for name in CONTENT}
        drafts.append(draft_ladder(portfolio=portfolio, name=one["name"], **values))
    return drafts


def _plain(rungs: object) -> list[dict[str, str]]:
    """Rungs in one spelling: numbers as words, without a zero too many."""
    names = ("gap_pct", "weight_pct", "take_profit_pct")
    return [{name: f"{getattr(rung, name).normalize():f}" for name in names} for rung in rungs_of(rungs)]
