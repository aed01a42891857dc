from strategies.models.backtest import BacktestRun, RunChunk, RunResult
from strategies.models.contract import ContractVersion, StrategyContract
from strategies.models.deployment import Deployment
from strategies.models.lifecycle import LifecyclePolicy, Stage, StageMove, Standing
from strategies.models.scan_slot import ScanSlot
from strategies.models.signal import Signal

__all__ = [
    "BacktestRun",
    "ContractVersion",
    "Deployment",
    "LifecyclePolicy",
    "RunChunk",
    "RunResult",
    "ScanSlot",
    "Signal",
    "Stage",
    "StageMove",
    "Standing",
    "StrategyContract",
]
