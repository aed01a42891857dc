from execution.models.engine_lease import EngineLease
from execution.models.fill import Fill, ParkedFill
from execution.models.group import Group
from execution.models.intent import Intent
from execution.models.order import Order, OrderEvent

__all__ = ["EngineLease", "Fill", "Group", "Intent", "Order", "OrderEvent", "ParkedFill"]
