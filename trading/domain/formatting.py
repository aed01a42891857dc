"""How the desk writes numbers and times. Pages, live cells and messages all come through here, so they never differ.

Grouping is Indian (12,34,567.50), the minus is a real one, and what is not known is a dash, never a zero.
"""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from trading.domain.clock import IST

MINUS = "−"
UNKNOWN = "—"


def grouped(digits: str) -> str:
    """Whole digits in Indian groups: the last three, then pairs. `1234567` → `12,34,567`."""
    head, tail = digits[:-3], digits[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, tail])


def number(value: Decimal, decimals: int) -> str:
    """A plain number, grouped, rounded half up. A negative that rounds to nothing is nothing: `0.00`."""
    rounded = value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    text = grouped(whole) + (f".{fraction}" if fraction else "")
    return f"{MINUS}{text}" if rounded < 0 else text


def signed(value: Decimal, decimals: int) -> str:
    """As `number`, with a plus before what is above zero."""
    text = number(value, decimals)
    return f"+{text}" if value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP) > 0 else text


def _with_symbol(text: str) -> str:
    sign = text[0] if text[0] in f"{MINUS}+" else ""
    return f"{sign}₹{text[len(sign) :]}"


def rupees(paise: int | None, *, symbol: bool = False, decimals: int = 2) -> str:
    """Paise as rupees: `1,21,852.50`, with the symbol `₹1,21,852.50`."""
    if paise is None:
        return UNKNOWN
    text = number(Decimal(paise) / 100, decimals)
    return _with_symbol(text) if symbol else text


def signed_rupees(paise: int | None, *, symbol: bool = False, decimals: int = 2) -> str:
    """Profit and loss: `+1,250.00`, `−430.50`, `0.00`."""
    if paise is None:
        return UNKNOWN
    text = signed(Decimal(paise) / 100, decimals)
    return _with_symbol(text) if symbol else text


def decimals_of(tick: Decimal | None) -> int:
    """Decimals that a price on this tick needs: never fewer than two."""
    if not tick:
        return 2
    exponent = tick.normalize().as_tuple().exponent
    return max(2, -exponent) if isinstance(exponent, int) else 2


def price(value: Decimal | None, tick: Decimal | None = None) -> str:
    """Rupees a unit with the decimals of the tick size."""
    return UNKNOWN if value is None else number(value, decimals_of(tick))


def percent(value: Decimal | None) -> str:
    """Signed, two decimals, without the sign of percent: `+0.41` is 0.41 %."""
    return UNKNOWN if value is None else signed(Decimal(value), 2)


def basis_points(value: float | None) -> str:
    """Signed, one decimal: `+2.4` is 0.024 % of the reference."""
    return UNKNOWN if value is None else signed(Decimal(str(value)), 1)


def latency(milliseconds: float | None) -> str:
    """A short span: `3.2 ms`, `48 ms`, `1.4 s`; from two minutes on as `duration` says it."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{number(Decimal(str(milliseconds)), 1 if milliseconds < 10 else 0)} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 120_000 else duration(milliseconds / 1000)


def share(part: float | None) -> str:
    """A part of one as percent: `0.934` is `93.4 %`, `1` is `100 %`."""
    if part is None:
        return UNKNOWN
    return f"{number(Decimal(str(part)) * 100, 0 if part in (0, 1) else 1)} %"


def quantity(units: int | None) -> str:
    """Units, grouped; a short position has the real minus."""
    return UNKNOWN if units is None else number(Decimal(units), 0)


def sign_of(value: Decimal | int | None) -> int:
    """-1, 0 or 1: which of the two colours, if any. Unknown has none."""
    return 0 if value is None else (value > 0) - (value < 0)


def ist_time(at: datetime | None, today: date | None = None) -> str:
    """`11:42:07` on `today` (an exchange day), `19 Nov 11:42:07` on any other, with the year where it differs.

    Without `today` only the time is written.
    """
    if at is None:
        return UNKNOWN
    local = at.astimezone(IST)
    clock = f"{local:%H:%M:%S}"
    if today is None or local.date() == today:
        return clock
    day = f"{local.day} {local:%b}" if local.year == today.year else f"{local.day} {local:%b %Y}"
    return f"{day} {clock}"


def duration(seconds: float | None) -> str:
    """A span in the two units that matter: `14 s`, `3 min`, `3 h 18 m`, `2 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def timeframe(minutes: int) -> str:
    """The length of a bar: `5 min`, `2 h`, `1 day`."""
    if minutes >= 1440:
        return "1 day" if minutes == 1440 else f"{minutes // 1440} days"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
