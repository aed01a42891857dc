"""An engine looks after the periodic jobs, as one of them looks after the engines: whoever has died is told of by
somebody else."""

from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.slots import missed_jobs

CODE = "JOBS_MISSED"


def watch_jobs(*, up_s: float) -> list[str]:
    """Tell that safety jobs have stopped, or that all of them run again. `up_s`: how long the engine has been up."""
    missed = missed_jobs(up_s=up_s)
    if missed:
        raise_alert(
            CODE, f"Jobs that look after safety have stopped: {', '.join(missed)}.", level=Level.SEVERE,
            next_step="Look at the processes beat and worker and their logs; the engine and the stops go on.",
        )  # fmt: skip
    else:
        clear_alerts(CODE)
    return missed
