"""Limits are rows: the house has one set, a portfolio may have its own. A change is a new version, in force at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from functools import lru_cache
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from risk.gates.finding import Limits
from risk.models import RiskPolicy
from risk.strictness import laxer
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.monitoring.alerts import Level, raise_alert
from trading.portfolio.models import Portfolio
from trading.statements import ask

FIELDS = tuple(
    field.name
    for field in RiskPolicy._meta.fields
    if field.name not in {"id", "portfolio", "version", "active", "created_at", "created_by"}
)
LIMIT_FIELDS = tuple(
    field.name for field in dataclass_fields(Limits) if field.name not in {"name", "restricted_symbols"}
)

ACTIVE = """
SELECT id FROM risk_riskpolicy WHERE active AND (portfolio_id = %s::bigint OR portfolio_id IS NULL)
ORDER BY portfolio_id NULLS LAST LIMIT 1
"""


def active_policy(portfolio_id: int | None) -> RiskPolicy:
    """The policy in force: the portfolio's own, else that of the house."""
    return policy_asked(portfolio_id)()


def policy_asked(portfolio_id: int | None) -> Callable[[], RiskPolicy]:
    """The same, asked together with the caller's other questions and read later."""
    rows = ask(ACTIVE, [portfolio_id])

    def policy() -> RiskPolicy:
        found = rows()
        if not found:
            raise RiskPolicy.DoesNotExist("The house has no limits in force.")
        return policy_of(found[0][0])

    return policy


@lru_cache(maxsize=256)
def policy_of(policy_id: int) -> RiskPolicy:
    """One version by its number. A version never changes, so which one is active is all that is asked anew."""
    return RiskPolicy.objects.select_related("portfolio").get(pk=policy_id)


def limits_of(policy: RiskPolicy) -> Limits:
    """The policy as gates read it."""
    values = {name: getattr(policy, name) for name in LIMIT_FIELDS}
    return Limits(**values, name=str(policy), restricted_symbols=frozenset(policy.restricted_symbols))


@lru_cache(maxsize=256)
def limits_in(policy_id: int) -> Limits:
    """The same of a stored version: made once."""
    return limits_of(policy_of(policy_id))


def values_of(policy: RiskPolicy) -> dict[str, Any]:
    """Every limit of a version by its name."""
    return {name: getattr(policy, name) for name in FIELDS}


def draft_policy(*, portfolio: Portfolio | None, values: Mapping[str, object]) -> RiskPolicy:
    """The version that these values would make, checked and not stored; what is left out keeps what it was.

    Raises NotAllowed (POLICY_INVALID) for an unknown field, a value out of range, or limits that contradict each other.
    """
    unknown = set(values) - set(FIELDS)
    if unknown:
        raise NotAllowed("POLICY_INVALID", f"There is no limit called {', '.join(sorted(unknown))}.")
    current = RiskPolicy.objects.filter(portfolio=portfolio, active=True).first()
    newest = RiskPolicy.objects.filter(portfolio=portfolio).aggregate(newest=Max("version"))["newest"] or 0
    draft = RiskPolicy(
        portfolio=portfolio, version=newest + 1, created_by="draft",
        **{**values_of(current or active_policy(None)), **values},
    )  # fmt: skip
    try:
        draft.full_clean(validate_constraints=False, validate_unique=False)
    except ValidationError as error:
        said = error.message_dict if hasattr(error, "error_dict") else {"limits": error.messages}
        words = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in said.items())
        raise NotAllowed("POLICY_INVALID", words, fields=said) from error
    return draft


@transaction.atomic
def publish_policy(*, portfolio: Portfolio | None, values: Mapping[str, object], actor: str) -> RiskPolicy:
    """Put a new version in force, at the next order in every process; values left out keep what they were.

    Raises NotAllowed (POLICY_INVALID) as `draft_policy` does.
    """
    current = RiskPolicy.objects.select_for_update().filter(portfolio=portfolio, active=True).first()
    kept = values_of(current or active_policy(None))
    new = draft_policy(portfolio=portfolio, values=values)
    new.created_by = actor[:150]
    if current:
        RiskPolicy.objects.filter(pk=current.pk).update(active=False)
    new.save()
    changed = {name: str(getattr(new, name)) for name in FIELDS if getattr(new, name) != kept[name]}
    owner_id = portfolio.owner_id if portfolio else None
    record("risk_policy.published", actor=actor, owner_id=owner_id, subject=str(new), changed=changed)
    if portfolio is None:
        _tell_who_is_laxer(new)
    return new


def _tell_who_is_laxer(house: RiskPolicy) -> None:
    """Limits of a portfolio's own stay as they are when the house becomes stricter: whoever has such is told, and who
    operates the desk with them."""
    ceiling = values_of(house)
    for own in RiskPolicy.objects.filter(active=True, portfolio__isnull=False).select_related("portfolio"):
        names = laxer(values_of(own), ceiling)
        if own.portfolio is None or not names:
            continue
        words = ", ".join(name.replace("_", " ") for name in names)
        raise_alert(
            "LIMITS_LAXER_THAN_HOUSE",
            f"{own.portfolio.name}: its own limits allow more than the house now does: {words}.",
            level=Level.WARNING, owner_id=own.portfolio.owner_id, about=str(own.portfolio_id),
            next_step="Tighten them on the page of limits, or go back to the house's.",
        )  # fmt: skip


@transaction.atomic
def drop_override(*, portfolio: Portfolio, actor: str) -> bool:
    """Let the house's limits hold for a portfolio again. False when it had none of its own."""
    dropped = RiskPolicy.objects.filter(portfolio=portfolio, active=True).update(active=False)
    if dropped:
        record("risk_policy.dropped", actor=actor, owner_id=portfolio.owner_id, subject=str(portfolio))
    return bool(dropped)


def policy_as_json(policy: RiskPolicy) -> str:
    """The limits as a file that `values_from_json` reads."""
    return json.dumps({"policy": str(policy), "limits": values_of(policy)}, default=str, indent=2, ensure_ascii=False)


def values_from_json(text: str) -> dict[str, Any]:
    """Limits from a file; one that names only some changes only those. NotAllowed (POLICY_FILE) for what is none."""
    try:
        given = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAllowed("POLICY_FILE", "This is not a JSON file of limits.") from error
    limits = given.get("limits") if isinstance(given, dict) else None
    if not isinstance(limits, dict) or not limits:
        raise NotAllowed("POLICY_FILE", "The file has no limits.")
    return read_values(limits)


def read_values(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits by name, as their fields read them. NotAllowed (POLICY_INVALID) for what is none or has no such value."""
    return {name: _read(name, raw) for name, raw in limits.items()}


def _read(name: str, raw: Any) -> Any:
    """One value, as its field reads it."""
    if name not in FIELDS:
        raise NotAllowed("POLICY_INVALID", f"There is no limit called {name[:60]}.")
    try:
        field: Any = RiskPolicy._meta.get_field(name)
        return field.to_python(raw)
    except ValidationError as error:
        raise NotAllowed("POLICY_INVALID", f"{name}: {' '.join(error.messages)}") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)
