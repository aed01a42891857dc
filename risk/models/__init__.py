from risk.models.order_rate import OrderRate
from risk.models.policy import RiskPolicy
from risk.models.reservation import Reservation, RiskBucket
from risk.models.trading_state import LossLock, TradingState
from risk.models.verdict import Assessment, Verdict

__all__ = ["Assessment", "LossLock", "OrderRate", "Reservation", "RiskBucket", "RiskPolicy", "TradingState", "Verdict"]
