"""Limits are rows: the house has one set, a portfolio may have its own. A change is a new version, in force at once."""

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.db import transaction

from risk.gates.finding import Limits
from risk.models import RiskPolicy
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.portfolio.models import Portfolio

FIELDS = tuple(
    field.name
    for field in RiskPolicy._meta.fields
    if field.name not in {"id", "portfolio", "version", "active", "created_at", "created_by"}
)
LIMIT_FIELDS = tuple(
    field.name for field in dataclass_fields(Limits) if field.name not in {"name", "restricted_symbols"}
)


def active_policy(portfolio_id: int | None) -> RiskPolicy:
    """The policy in force: the portfolio's own, else that of the house."""
    rows = RiskPolicy.objects.filter(active=True)
    own = rows.filter(portfolio_id=portfolio_id).first() if portfolio_id is not None else None
    return own or rows.get(portfolio=None)


@lru_cache(maxsize=256)
def policy_of(policy_id: int) -> RiskPolicy:
    """One version by its number. A version never changes, so which one is active is all that is asked anew."""
    return RiskPolicy.objects.select_related("portfolio").get(pk=policy_id)


def limits_of(policy: RiskPolicy) -> Limits:
    """The policy as gates read it."""
    values = {name: getattr(policy, name) for name in LIMIT_FIELDS}
    return Limits(**values, name=str(policy), restricted_symbols=frozenset(policy.restricted_symbols))


@transaction.atomic
def publish_policy(*, portfolio: Portfolio | None, values: Mapping[str, object], actor: str) -> RiskPolicy:
    """Put a new version in force; values left out keep what they were.

    Raises NotAllowed (POLICY_INVALID) for an unknown field or a value out of range.
    """
    unknown = set(values) - set(FIELDS)
    if unknown:
        raise NotAllowed("POLICY_INVALID", f"There is no limit called {', '.join(sorted(unknown))}.")
    current = RiskPolicy.objects.select_for_update().filter(portfolio=portfolio, active=True).first()
    basis = current or active_policy(None)
    kept = {name: getattr(basis, name) for name in FIELDS}
    new = RiskPolicy(
        portfolio=portfolio,
        version=(current.version + 1) if current else 1,
        created_by=actor,
        **{**kept, **values},
    )
    try:
        new.full_clean(validate_constraints=False, validate_unique=False)
    except ValidationError as error:
        raise NotAllowed("POLICY_INVALID", "; ".join(error.messages)) from error
    if current:
        RiskPolicy.objects.filter(pk=current.pk).update(active=False)
    new.save()
    changed = {name: str(getattr(new, name)) for name in FIELDS if getattr(new, name) != kept[name]}
    owner_id = portfolio.owner_id if portfolio else None
    record("risk_policy.published", actor=actor, owner_id=owner_id, subject=str(new), changed=changed)
    return new
