from risk.models.breaker import Breaker
from risk.models.drawdown import DrawdownMove, DrawdownState
from risk.models.funds import BrokerFunds
from risk.models.order_rate import OrderRate
from risk.models.point import RiskPoint, RiskReport
from risk.models.policy import RiskPolicy
from risk.models.reservation import Reservation, RiskBucket
from risk.models.trading_state import LossLock, TradingState
from risk.models.verdict import Assessment, Verdict

__all__ = [
    "Assessment",
    "Breaker",
    "BrokerFunds",
    "DrawdownMove",
    "DrawdownState",
    "LossLock",
    "OrderRate",
    "Reservation",
    "RiskBucket",
    "RiskPoint",
    "RiskPolicy",
    "RiskReport",
    "TradingState",
    "Verdict",
]
