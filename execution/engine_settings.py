"""What the signal engine is told is rows: the house has one set, a portfolio may have its own. A change is a new
version, in force at the next cycle of every process, because each reads them anew and none keeps a copy."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import Max, Q

from execution.ladder_plans import (
    draft_ladder,
    drafts_from,
    ladder_content,
    ladder_named,
    ladders_for,
    same_ladder,
    store_ladder,
)
from execution.models import EngineSettings, LadderPlan
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import Select

FIELDS = tuple(
    field.name
    for field in EngineSettings._meta.fields
    if field.name not in {"id", "portfolio", "version", "active", "created_at", "created_by"}
)
IN_FORCE = Select(
    EngineSettings, "ladder", "portfolio",
    where="WHERE t.active AND (t.portfolio_id = %(portfolio)s::bigint OR t.portfolio_id IS NULL)"
    " ORDER BY t.portfolio_id NULLS LAST LIMIT 1",
)  # fmt: skip
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('engine settings', 0))"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs between two versions, each value as it is written."""

    name: str
    was: str
    now: str


def settings_of(portfolio_id: int | None) -> EngineSettings:
    """What is in force now: the portfolio's own, else that of the house. One statement, asked anew at each call.

    NotAllowed (SETTINGS_MISSING) where there is neither: nothing is assumed in its place.
    """
    return settings_asked(portfolio_id)()


def settings_asked(portfolio_id: int | None) -> Callable[[], EngineSettings]:
    """The same, asked together with the caller's other questions and read later."""
    rows = cache(IN_FORCE.ask({"portfolio": portfolio_id}))

    def settings() -> EngineSettings:
        found = rows()
        if not found:
            raise NotAllowed(
                "SETTINGS_MISSING", "The signal engine has no settings in force.",
                next_step="An operator puts some in force: Console, Engine settings.",
            )  # fmt: skip
        return found[0]

    return settings


def values_of(settings: EngineSettings) -> dict[str, Any]:
    """Every setting of a version by its name; the ladder is its row."""
    return {name: getattr(settings, name) for name in FIELDS}


def plain_values(settings: EngineSettings) -> dict[str, Any]:
    """The same as plain values that a file or a program keeps: the ladder by its name, what has decimals as text."""
    return {name: _plain(getattr(settings, name)) for name in FIELDS}


def changes(before: EngineSettings, after: EngineSettings) -> list[Change]:
    """What differs between two versions. Another ladder under the same name differs, too."""
    found = []
    for name in FIELDS:
        was, now = getattr(before, name), getattr(after, name)
        if name == "ladder":
            same = was.name == now.name and same_ladder(was, now)
        else:
            same = was == now
        if not same:
            found.append(Change(name, _words(was), _words(now)))
    return found


# -- a new version ---------------------------------------------------------------------------------------------------


def draft_settings(
    *, portfolio: Portfolio | None, values: Mapping[str, object], ladders: Iterable[LadderPlan] = ()
) -> EngineSettings:
    """The version that these values would make, checked and not stored; what is left out keeps what it was.

    The ladder is a row, or the name of one the portfolio may use; `ladders` are drafts that would be stored with it.
    Raises NotAllowed (SETTINGS_INVALID) for an unknown setting, a value out of range, or settings that contradict
    each other; `fields` has the sentences by name.
    """
    unknown = set(values) - set(FIELDS)
    if unknown:
        raise _invalid({name: ["There is no such setting."] for name in sorted(map(str, unknown))})
    drafted = {plan.name: plan for plan in ladders}
    read, wrong = {}, {}
    for name, raw in values.items():
        try:
            read[name] = _read(name, raw, portfolio, drafted)
        except ValidationError as error:
            wrong[name] = list(error.messages)
    if wrong:
        raise _invalid(wrong)
    newest = EngineSettings.objects.filter(portfolio=portfolio).aggregate(newest=Max("version"))["newest"] or 0
    base = _in_force(portfolio.pk if portfolio else None)
    missing = [] if base else [name for name in FIELDS if name not in read]
    if missing:
        raise _invalid({name: ["A value is needed: none is in force to keep."] for name in missing})
    kept = values_of(base) if base else {}
    draft = EngineSettings(portfolio=portfolio, version=newest + 1, created_by="draft", **{**kept, **read})
    try:
        unsaved: list[str] = ["ladder"] if draft.ladder.pk is None else []
        draft.full_clean(exclude=unsaved, validate_constraints=False, validate_unique=False)
    except ValidationError as error:
        raise _invalid(error.message_dict) from error
    return draft


@transaction.atomic
def publish_settings(
    *, portfolio: Portfolio | None, values: Mapping[str, object], actor: str, ladders: Iterable[LadderPlan] = ()
) -> EngineSettings:
    """Put a new version in force, at the next cycle of every process; values left out keep what they were.

    Ladders are stored first, under their names. Values that change nothing make no version: the one in force is the
    answer. Raises NotAllowed (SETTINGS_INVALID) as `draft_settings` does.
    """
    _lock()
    drafts = list(ladders)
    for draft in drafts:
        if draft.portfolio_id != (portfolio.pk if portfolio else None):
            raise _invalid({"ladder": ["That ladder belongs to another portfolio."]})
        _store(draft, actor)
    values = {name: _stored(value, drafts) for name, value in values.items()}
    current = EngineSettings.objects.filter(portfolio=portfolio, active=True).select_related("ladder").first()
    new = draft_settings(portfolio=portfolio, values=values)
    before = current or _in_force(portfolio.pk if portfolio else None)
    changed = changes(before, new) if before else []
    if current is not None and not changed:
        return current
    return _put_in_force(new, current, changed, actor)


@transaction.atomic
def drop_settings(*, portfolio: Portfolio, actor: str) -> bool:
    """Let the house's settings hold for a portfolio again. False when it had none of its own."""
    _lock()
    dropped = EngineSettings.objects.filter(portfolio=portfolio, active=True).update(active=False)
    if dropped:
        record("engine_settings.dropped", actor=actor, owner_id=portfolio.owner_id, subject=str(portfolio))
        _tell(portfolio)
    return bool(dropped)


# -- ladders ---------------------------------------------------------------------------------------------------------


@transaction.atomic
def publish_ladder(
    *, portfolio: Portfolio | None, name: str, rungs: object, actor: str, overrides: object = None,
    stop_pct: Any = None,
) -> LadderPlan:  # fmt: skip
    """Put a ladder in force under its name. The same content again changes nothing.

    Another content is a new row: trades go on with the one they began with, and settings that used the name get a new
    version that uses the new row. NotAllowed (LADDER) says what is wrong with it.
    """
    _lock()
    draft = draft_ladder(portfolio=portfolio, name=name, rungs=rungs, overrides=overrides, stop_pct=stop_pct)
    return _store(draft, actor)


@transaction.atomic
def retire_ladder(*, ladder_id: int, actor: str) -> bool:
    """Take a ladder out of use; trades that began with it keep it. False when it is out of use already.

    NotAllowed (LADDER_IN_USE) while settings in force name it.
    """
    _lock()
    plan = LadderPlan.objects.select_related("portfolio").get(pk=ladder_id)
    users = [str(one) for one in EngineSettings.objects.filter(ladder=plan, active=True).select_related("portfolio")]
    if users:
        raise NotAllowed("LADDER_IN_USE", f"Used by the settings in force: {', '.join(users)}.", settings=users)
    retired = LadderPlan.objects.filter(pk=plan.pk, retired_at=None).update(retired_at=models.functions.Now())
    if retired:
        record("ladder.retired", actor=actor, owner_id=_owner_of(plan.portfolio), subject=_title(plan))
    return bool(retired)


# -- as a file -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backup:
    """What a file holds: settings by name, and drafts of its ladders for the portfolio it is read for."""

    values: dict[str, Any]
    ladders: list[LadderPlan]


def settings_as_json(settings: EngineSettings) -> str:
    """The settings with every ladder of their portfolio and the one they use, as a file `values_from_json` reads."""
    own = [one for one in ladders_for(settings.portfolio_id) if one.portfolio_id == settings.portfolio_id]
    if settings.ladder.name not in {one.name for one in own}:
        own.append(settings.ladder)
    body = {
        "engine": str(settings),
        "settings": plain_values(settings),
        "ladders": [ladder_content(one) for one in own],
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


def values_from_json(text: str, *, portfolio: Portfolio | None) -> Backup:
    """Settings from a file; one that names only some changes only those. NotAllowed (SETTINGS_FILE) for what is no
    such file, (SETTINGS_INVALID, LADDER) for values that may not be.

    A ladder that the portfolio may use already, the same under the same name, is not made again.
    """
    try:
        given = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAllowed("SETTINGS_FILE", "This is not a JSON file of settings.") from error
    values = given.get("settings") if isinstance(given, dict) else None
    if not isinstance(values, dict) or not (values or given.get("ladders")):
        raise NotAllowed("SETTINGS_FILE", "The file has no settings.")
    drafts = drafts_from(given.get("ladders", []), portfolio=portfolio)
    usable = list(ladders_for(portfolio.pk if portfolio else None))
    known = {one.name: one for one in reversed(usable)}
    drafts = [one for one in drafts if one.name not in known or not same_ladder(known[one.name], one)]
    draft_settings(portfolio=portfolio, values=values, ladders=drafts)
    return Backup(values, drafts)


# -- the pieces ------------------------------------------------------------------------------------------------------


def _in_force(portfolio_id: int | None) -> EngineSettings | None:
    return IN_FORCE.first({"portfolio": portfolio_id})


def _put_in_force(
    new: EngineSettings, current: EngineSettings | None, changed: list[Change], actor: str
) -> EngineSettings:  # fmt: skip
    new.created_by = actor[:150]
    if current is not None:
        EngineSettings.objects.filter(pk=current.pk).update(active=False)
    new.save()
    told = {one.name: {"old": one.was, "new": one.now} for one in changed}
    record(
        "engine_settings.published", actor=actor, owner_id=_owner_of(new.portfolio), subject=str(new)[:120],
        changed=told,
    )  # fmt: skip
    if new.portfolio is not None:
        _tell(new.portfolio)
    return new


def _store(draft: LadderPlan, actor: str) -> LadderPlan:
    """Keep a ladder, and let the settings that used its name use it from now on."""
    draft.created_by = actor[:150]
    plan, replaced = store_ladder(draft)
    if plan is not draft:
        return plan
    record(
        "ladder.published", actor=actor, owner_id=_owner_of(plan.portfolio), subject=_title(plan),
        ladder=ladder_content(plan), replaced=ladder_content(replaced) if replaced else None,
    )  # fmt: skip
    named_so = Q(ladder=replaced) if replaced else Q(pk=None)
    if plan.portfolio_id is not None:  # settings of its own that had the house's ladder of this name
        named_so |= Q(portfolio=plan.portfolio_id, ladder__name=plan.name)
    for one in EngineSettings.objects.filter(named_so, active=True).select_related("portfolio", "ladder"):
        new = draft_settings(portfolio=one.portfolio, values={"ladder": plan})
        _put_in_force(new, one, changes(one, new), actor)
    return plan


def _stored(value: object, drafts: list[LadderPlan]) -> object:
    """A drafted ladder by its name, since storing it may have found that it is there already."""
    return value.name if isinstance(value, LadderPlan) and value in drafts else value


def _lock() -> None:
    """Settings and ladders change one after the other, so that versions follow each other without a gap."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK)


def _tell(portfolio: Portfolio) -> None:
    """More slots may be free, or a wait be over: the engine looks now and not only at its next cycle."""
    after_commit("engine.queue", account_id=portfolio.account_id, portfolio_id=portfolio.pk)
    publish(portfolio.owner_id, "settings", portfolio=portfolio.pk)


def _read(name: str, raw: Any, portfolio: Portfolio | None, drafted: Mapping[str, LadderPlan]) -> Any:
    """One value, as its field reads it; ValidationError for what it cannot be."""
    if name == "ladder":
        if isinstance(raw, LadderPlan):
            return raw
        if isinstance(raw, str) and raw in drafted:
            return drafted[raw]
        try:
            return ladder_named(portfolio.pk if portfolio else None, raw if isinstance(raw, str) else str(raw))
        except NotAllowed as error:
            raise ValidationError(error.message) from error
    if raw is None:
        raise ValidationError("A value is needed.")
    if name == "ranking":
        if not isinstance(raw, list) or not raw or not all(isinstance(rule, str) for rule in raw):
            raise ValidationError("A list of rules, with one at least.")
        return raw
    field: Any = EngineSettings._meta.get_field(name)
    if isinstance(field, models.BooleanField) != isinstance(raw, bool):
        raise ValidationError("Yes or no." if isinstance(field, models.BooleanField) else "A number.")
    if isinstance(raw, float) and isinstance(field, models.IntegerField) and not raw.is_integer():
        raise ValidationError("A whole number.")
    exact = repr(raw) if isinstance(raw, float) and isinstance(field, models.DecimalField) else raw
    return field.clean(exact, None)


def _plain(value: Any) -> Any:
    if isinstance(value, LadderPlan):
        return value.name
    if isinstance(value, bool | int | list):
        return value
    return _words(value)


def _words(value: Any) -> str:
    if isinstance(value, LadderPlan):
        return value.name
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text and text.replace(".", "").isdigit() else text


def _invalid(fields: Mapping[str, list[str]]) -> NotAllowed:
    words = "; ".join(f"{name[:60]}: {' '.join(messages)}" for name, messages in fields.items())
    return NotAllowed("SETTINGS_INVALID", words, fields=dict(fields))


def _owner_of(portfolio: Portfolio | None) -> int | None:
    return portfolio.owner_id if portfolio is not None else None


def _title(plan: LadderPlan) -> str:
    return f"{plan.name} of {plan.portfolio or 'the house'}"[:120]


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)
