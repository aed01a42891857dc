"""What a contract may ask for that the desk can do with real orders. The rest is refused when it is deployed, aloud."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.contracts.schema import ContractBody, Family


@dataclass(frozen=True, slots=True)
class Lack:
    """Something a contract asks for and the live path does not do."""

    code: str
    path: str
    message: str


def lacks_of(body: ContractBody) -> list[Lack]:
    """Everything of a contract that live trading would have to leave out; empty: it is done as written."""
    lacks = []
    if body.family is Family.OPTIONS:
        lacks.append(Lack("OPTIONS_NOT_LIVE", "family", "Option contracts are not traded live yet."))
    return lacks
