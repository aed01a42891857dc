"""What an owner does with hooks: make, change, rotate, switch off, name symbols. Each leaves an audit record."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.secrets import seal, unseal
from execution.hooks.signature import new_secret
from execution.models import Hook, HookSymbol
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio

CHANGEABLE = (
    "name", "authentication", "secret_in_address", "max_age_s", "allowed_addresses", "rate_per_minute", "product",
    "ladder", "timeframe", "default_action",
)  # fmt: skip
GRACE = timedelta(hours=24)  # after a rotation the old secret opens for so long
MOST_HOOKS = 50
MOST_SYMBOLS = 2_000


def _purpose(hook: Hook) -> str:
    return f"hook:{hook.pk}"


def open_secrets(hook: Hook, *, wall: datetime) -> list[str]:
    """The secrets that open this hook now: the current one, and the one before for as long as it may."""
    owner_id, purpose = hook.portfolio.owner_id, _purpose(hook)
    known = [unseal(hook.secret_sealed, owner_id=owner_id, purpose=purpose)]
    if hook.old_secret_sealed and hook.old_secret_until and wall < hook.old_secret_until:
        known.append(unseal(hook.old_secret_sealed, owner_id=owner_id, purpose=purpose))
    return known


def _checked(hook: Hook) -> None:
    try:
        hook.full_clean(exclude=["id", "secret_sealed", "old_secret_sealed"], validate_constraints=True)
    except ValidationError as error:
        said = error.message_dict
        name, messages = next(iter(said.items()))
        taken = "hook_name_once_per_portfolio" in str(messages) or name == "__all__"
        sentence = "This portfolio has a hook of that name." if taken else f"{name}: {messages[0]}"
        raise NotAllowed("HOOK_INVALID", sentence, field="name" if taken else name) from None


def _told(hook: Hook) -> dict[str, Any]:
    values = {name: getattr(hook, name) for name in CHANGEABLE if name != "ladder"}
    return values | {"ladder": hook.ladder_id, "enabled": hook.enabled}


@transaction.atomic
def hook_create(*, portfolio: Portfolio, values: Mapping[str, Any], actor: str, wall: datetime) -> tuple[Hook, str]:
    """A new hook and its secret, which cannot be had again. Raises NotAllowed (HOOK_INVALID, HOOKS_FULL)."""
    portfolio = Portfolio.objects.select_for_update(of=("self",)).get(pk=portfolio.pk)
    if portfolio.hooks.count() >= MOST_HOOKS:
        raise NotAllowed("HOOKS_FULL", f"A portfolio may have {MOST_HOOKS} hooks.", most=MOST_HOOKS)
    hook = Hook(portfolio=portfolio, created_at=wall, created_by=actor, **_only_changeable(values))
    secret = new_secret()
    hook.secret_sealed = seal(secret, owner_id=portfolio.owner_id, purpose=_purpose(hook))
    _checked(hook)
    hook.save(force_insert=True)
    record("hook.created", actor=actor, owner_id=portfolio.owner_id, subject=f"hook:{hook.pk}", **_told(hook))
    return hook, secret


def _only_changeable(values: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise NotAllowed("HOOK_INVALID", f"A hook has no {', '.join(sorted(unknown))}.", field=min(unknown))
    return dict(values)


def _locked(hook: Hook) -> Hook:
    return Hook.objects.select_for_update(of=("self",)).select_related("portfolio", "ladder").get(pk=hook.pk)


@transaction.atomic
def hook_change(*, hook: Hook, values: Mapping[str, Any], actor: str) -> Hook:
    """Change what a hook asks for or adds. In force at the next alert."""
    row = _locked(hook)
    before = _told(row)
    for name, value in _only_changeable(values).items():
        setattr(row, name, value)
    _checked(row)
    row.save()
    changed = {name: [before[name], value] for name, value in _told(row).items() if before[name] != value}
    if changed:
        record("hook.changed", actor=actor, owner_id=row.portfolio.owner_id, subject=f"hook:{row.pk}", changed=changed)
    return row


@transaction.atomic
def hook_rotate(
    *, hook: Hook, actor: str, wall: datetime, at_once: bool = False, instead_of: str = ""
) -> tuple[Hook, str]:  # fmt: skip
    """A new secret. The old one opens for a day more, or with `at_once` not any more: when it is in wrong hands.

    `instead_of`: the mark of the secret that is to be replaced. Conflict (HOOK_ROTATED) where it was replaced already:
    a second press would shut out the secret that is in use.
    """
    row = _locked(hook)
    if instead_of and instead_of != row.secret_mark:
        raise Conflict(
            "HOOK_ROTATED", "It got a new secret a moment ago, and that was shown once. Nothing more was done.",
            next_step="Use the secret that was shown. If nobody kept it, open the page again and make another.",
        )  # fmt: skip
    row.old_secret_sealed = None if at_once else row.secret_sealed
    row.old_secret_until = None if at_once else wall + GRACE
    secret = new_secret()
    row.secret_sealed = seal(secret, owner_id=row.portfolio.owner_id, purpose=_purpose(row))
    row.save(update_fields=["secret_sealed", "old_secret_sealed", "old_secret_until"])
    record(
        "hook.rotated", actor=actor, owner_id=row.portfolio.owner_id, subject=f"hook:{row.pk}", at_once=at_once,
        old_secret_until=row.old_secret_until,
    )  # fmt: skip
    return row, secret


@transaction.atomic
def hook_switch(*, hook: Hook, enabled: bool, actor: str) -> bool:
    """Switch a hook on or off. False when it was so already; safe to repeat."""
    changed = Hook.objects.filter(pk=hook.pk).exclude(enabled=enabled).update(enabled=enabled)
    if changed:
        word = "hook.enabled" if enabled else "hook.disabled"
        record(word, actor=actor, owner_id=hook.portfolio.owner_id, subject=f"hook:{hook.pk}")
    return bool(changed)


@transaction.atomic
def symbol_map_set(
    *, portfolio: Portfolio, exchange: str, symbol: str, instrument: str, actor: str, wall: datetime
) -> HookSymbol:
    """Say what a name of the outside means here; said again, it means the new thing."""
    outside = symbol.strip().upper()
    where, _, rest = outside.partition(":") if ":" in outside else (exchange.strip().upper(), "", outside)
    if not rest or len(rest) > 60 or len(where) > 20:
        raise NotAllowed("SYMBOL_INVALID", "The name as the alert writes it, 60 characters at most.")
    found = Instrument.objects.filter(symbol=instrument.strip().upper(), active=True).first()
    if found is None or not found.is_tradable:
        raise NotFound("INSTRUMENT_NOT_FOUND", f"{instrument.strip()[:60]} is no instrument that can be traded here.")
    if portfolio.hook_symbols.count() >= MOST_SYMBOLS:
        raise NotAllowed("SYMBOLS_FULL", f"A portfolio may map {MOST_SYMBOLS} names.", most=MOST_SYMBOLS)
    row, _ = HookSymbol.objects.update_or_create(
        portfolio=portfolio, exchange=where, symbol=rest,
        defaults={"instrument": found, "created_at": wall, "created_by": actor},
    )  # fmt: skip
    record(
        "hook.symbol_mapped", actor=actor, owner_id=portfolio.owner_id, subject=f"portfolio:{portfolio.pk}",
        name=str(row), instrument=found.symbol,
    )  # fmt: skip
    return row


@transaction.atomic
def symbol_map_drop(*, row: HookSymbol, actor: str) -> None:
    """Forget what a name means. Safe to repeat."""
    name, portfolio = str(row), row.portfolio
    if HookSymbol.objects.filter(pk=row.pk).delete()[0]:
        record(
            "hook.symbol_dropped", actor=actor, owner_id=portfolio.owner_id, subject=f"portfolio:{portfolio.pk}",
            name=name,
        )  # fmt: skip
