from strategies.models.contract import ContractVersion, StrategyContract
from strategies.models.deployment import Deployment
from strategies.models.scan_slot import ScanSlot
from strategies.models.signal import Signal

__all__ = ["ContractVersion", "Deployment", "ScanSlot", "Signal", "StrategyContract"]
