"""What the editor is told of one rule while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strategies.contracts.fields import ContractError, read_number
from strategies.contracts.publish import known_symbols
from strategies.contracts.words import conditions_of
from strategies.rules.compiled import CompiledRule, Kind, compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.functions import CATALOGUE, TIMEFRAME_MINUTES, TIMEFRAME_NAMES, nearest

MOST_PARAMETERS = 30


def check_rule(text: str, *, kind: Kind, timeframe: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    """`error` with code, message, position and suggestion, or None; `words` of what must hold; `notes` on its needs."""
    numbers = numbers_of(parameters)
    minutes = TIMEFRAME_MINUTES.get(timeframe)
    try:
        rule = compile_rule(text, numbers, expect=kind, timeframe=minutes)
        unknown = _unknown_symbol(text, rule)
        if unknown is not None:
            raise unknown
    except RuleError as error:
        told = {
            "code": error.code, "message": _sentence(error), "position": error.position,
            "suggestion": error.suggestion,
        }  # fmt: skip
        return {"error": told, "words": [], "notes": []}
    return {"error": None, "words": conditions_of(rule.node), "notes": _notes(rule, minutes or 5)}


def numbers_of(parameters: Mapping[str, object]) -> dict[str, float]:
    """Parameters as they stand in the table; a number that is none yet counts as 1, so that the rule can be read."""
    numbers = {}
    for name, given in list(parameters.items())[:MOST_PARAMETERS]:
        try:
            numbers[str(name)] = float(read_number(given, name))
        except ContractError:
            numbers[str(name)] = 1.0
    return numbers


def names_told() -> list[dict[str, str]]:
    """Every name of the language for the editor's list."""
    return [
        {"name": entry.name, "group": entry.group, "signature": entry.signature, "doc": entry.doc}
        for entry in CATALOGUE.values()
    ]


def _sentence(error: RuleError) -> str:
    return f"{error.message} (character {error.position + 1})."


def _unknown_symbol(text: str, rule: CompiledRule) -> RuleError | None:
    """A reference instrument that this desk does not have, where it stands in the text."""
    wanted = {need.symbol for need in rule.needs if need.symbol}
    known = known_symbols(wanted)
    for name in sorted(wanted - known):
        hint = nearest(name, (symbol.lower() for symbol in known_symbols(None)))
        place = text.find(f'"{name}"')
        return RuleError(
            "UNKNOWN_INSTRUMENT", f"This desk has no instrument {name}", max(place, 0), hint.upper() if hint else None
        )
    return None


def _notes(rule: CompiledRule, timeframe: int) -> list[str]:
    notes = [f"Known after {rule.warm_up} bars"] if rule.warm_up else []
    history = rule.history(timeframe)
    if history > rule.warm_up:
        notes.append(f"settled after {history}")
    for need in rule.needs:
        frame = TIMEFRAME_NAMES.get(need.timeframe or timeframe, "")
        notes.append(f"looks at {need.bars} bars of {frame}{f' of {need.symbol}' if need.symbol else ''}")
    return [f"{'; '.join(notes)}."] if notes else []
