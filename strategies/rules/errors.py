"""What is wrong with a rule, and where."""

from trading.domain.errors import TradingError


class RuleError(Exception):
    """A rule that cannot be used. `position` counts characters from 0; `suggestion` is a known name or None."""

    def __init__(self, code: str, message: str, position: int, suggestion: str | None = None) -> None:
        self.code = code
        self.message = message
        self.position = position
        self.suggestion = suggestion
        super().__init__(str(self))

    def __str__(self) -> str:
        hint = f" Did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.message} (character {self.position + 1}).{hint}"

    def pointing_at(self, text: str) -> str:
        """The line of the rule, a caret below the character, and the message."""
        start = text.rfind("\n", 0, self.position) + 1
        line = text[start:].split("\n", 1)[0]
        return f"{line}\n{' ' * (self.position - start)}^ {self}"


class SeriesMissing(TradingError):
    """A rule was run without the bars of a timeframe or an instrument that it names: see `RuleSet.needs`."""

    def __init__(self, message: str, *, symbol: str, timeframe: int) -> None:
        super().__init__("SERIES_MISSING", message, symbol=symbol, timeframe=timeframe)
