"""The newest value of an indicator for many symbols, one bar at a time, by name.

    strength = stream("rsi", 500, 14)
    newest = strength.update(close)  # float64[500] → float64[500]

The values are those of the batch kernel, bit for bit, because it is the same machine code with the same memory: see
`rows`. `update` takes the series of the rule first, then the bars it needs, in the order of `registry`: `inputs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trading.indicators.registry import REGISTRY

if TYPE_CHECKING:
    from trading.indicators.rows import Stream


def stream(name: str, symbols: int, *constants: float) -> Stream:
    """A fresh stream of a registered indicator. Constants left out take their defaults. KeyError: no such indicator."""
    indicator = REGISTRY[name]
    rest = indicator.parameters[len(constants) :]
    if len(constants) > len(indicator.parameters) or any(parameter.default is None for parameter in rest):
        raise ValueError(f"{indicator.signature}: {len(constants)} constants given")
    for parameter, value in zip(indicator.parameters, constants, strict=False):
        if not parameter.accepts(value):
            raise ValueError(f"{indicator.signature}: {parameter.name} cannot be {value}")
    return indicator.stream(symbols, (*constants, *(p.default for p in rest if p.default is not None)))
