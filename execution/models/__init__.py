from execution.models.bust import FillBust
from execution.models.engine_lease import EngineLease
from execution.models.fill import Fill, ParkedFill
from execution.models.group import Group
from execution.models.intent import Intent
from execution.models.order import Order, OrderEvent
from execution.models.reconciliation import Mismatch, ReconRun

__all__ = [
    "EngineLease",
    "Fill",
    "FillBust",
    "Group",
    "Intent",
    "Mismatch",
    "Order",
    "OrderEvent",
    "ParkedFill",
    "ReconRun",
]
