from execution.models.bust import FillBust
from execution.models.chase import ChaseStep
from execution.models.deployment_work import DeploymentWork
from execution.models.engine_lease import EngineLease
from execution.models.event_seal import EventSeal
from execution.models.fill import Fill, ParkedFill
from execution.models.group import Group
from execution.models.hook import Delivery, Hook, HookSymbol
from execution.models.intent import Intent
from execution.models.ladder import Leg, PartExit, Pyramid
from execution.models.offset_plan import OffsetLine, OffsetMark, OffsetPlan, OffsetWatch
from execution.models.order import Order, OrderEvent
from execution.models.paper import PaperBook, PaperHolding, PaperOrder, PaperTrade, PaperTrigger
from execution.models.parent import ParentOrder
from execution.models.queue import Pool, QueuedSignal
from execution.models.reconciliation import Mismatch, ReconRun
from execution.models.settings import EngineSettings, LadderPlan

__all__ = [
    "ChaseStep",
    "Delivery",
    "DeploymentWork",
    "EngineLease",
    "EngineSettings",
    "EventSeal",
    "Fill",
    "FillBust",
    "Group",
    "Hook",
    "HookSymbol",
    "Intent",
    "LadderPlan",
    "Leg",
    "Mismatch",
    "OffsetLine",
    "OffsetMark",
    "OffsetPlan",
    "OffsetWatch",
    "Order",
    "OrderEvent",
    "PaperBook",
    "PaperHolding",
    "PaperOrder",
    "PaperTrade",
    "PaperTrigger",
    "ParentOrder",
    "ParkedFill",
    "PartExit",
    "Pool",
    "Pyramid",
    "QueuedSignal",
    "ReconRun",
]
