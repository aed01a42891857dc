"""One family of errors. The code is stable: pages, programs and alerts may depend on it; the sentence may improve."""


class TradingError(Exception):
    """Something that must not happen did not happen. Carries a stable code and the numbers behind it."""

    def __init__(self, code: str, message: str, **numbers: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.numbers = numbers

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class NotAllowed(TradingError):
    """The rules of the desk or of the exchange refuse it; nothing was changed."""


class NotFound(TradingError):
    """No such thing, or not yours: the two are told apart to nobody."""


class Conflict(TradingError):
    """It was true a moment ago; somebody else moved first."""


class IllegalTransition(TradingError):
    """An event that the state machine does not know in this state."""
