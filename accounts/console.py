"""The operator console's manners, under the name the apps above know them by."""

from trading.audit.console import (
    OPERATE,
    ReadOnlyAdmin,
    ReadOnlyInline,
    ShallowPaginator,
    may_operate,
    money,
    require_operator,
)  # fmt: skip

__all__ = [
    "OPERATE",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "ShallowPaginator",
    "may_operate",
    "money",
    "require_operator",
]
