"""Chains from files of recorded snapshots (one row a strike), and what is wrong with them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction

from trading.audit.record import record
from trading.marketdata.files.tables import Table, TableRefused, read_table
from trading.marketdata.option_chain import Chain, ChainRefused, store_chain
from trading.marketdata.quality.files import CheckedFile, check_files

NAMES = {
    "ltp": "ltp", "bid": "bid", "ask": "ask", "bid_qty": "bid_quantity", "ask_qty": "ask_quantity", "oi": "oi",
    "chg_oi": "oi_change", "vol": "volume", "iv": "iv",
}  # fmt: skip
IN_LOTS = ("oi", "oi_change", "volume")  # as the exchange publishes them; the quantities of bid and ask are in units


@dataclass(slots=True)
class ChainReport:
    """What a file of chains held and what became of it."""

    path: str
    checked: CheckedFile
    chains: int = 0
    stored: int = 0
    repeated: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path, "chains": self.chains, "stored": self.stored, "repeated": self.repeated,
            "refused": self.refused, "defects": self.checked.findings.as_list(),
        }  # fmt: skip


def import_chains(
    path: Path, *, lot_size: int, source: str, actor: str, exchange: str = "NSE",
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> ChainReport:  # fmt: skip
    """Store every chain of a file, all or none. Open interest and volume are taken as lots of `lot_size` units.

    Columns: file_ts (when it was stored), fetch_ts (the exchange's own time), underlying, expiry, strike, and ce_/pe_
    with ltp, bid, ask, bid_qty, ask_qty, oi, chg_oi, vol, iv (percent). Errors: TableRefused.
    """
    table = read_table(path)
    absent = {"file_ts", "fetch_ts", "underlying", "expiry", "strike"} - set(table.names)
    if absent:
        raise TableRefused("UNKNOWN_LAYOUT", f"{path.name} is no file of chains: no column {', '.join(sorted(absent))}")
    (checked,) = check_files([path])
    report = ChainReport(str(path), checked)
    stored, exchange_times = table.epochs("file_ts"), table.epochs("fetch_ts")
    names, expiries = table.texts("underlying"), table.dates("expiry")
    columns = _columns(table, lot_size)
    keys: dict[tuple[int, int, str, date], list[int]] = {}
    for at, key in enumerate(zip(stored.tolist(), exchange_times.tolist(), names, expiries, strict=True)):
        keys.setdefault(key, []).append(at)
    with transaction.atomic():
        for (stored_s, exchange_s, name, expiry), rows in sorted(keys.items()):
            report.chains += 1
            try:
                chain = Chain.of({field: column[rows] for field, column in columns.items()})
                told_at, had_at = (datetime.fromtimestamp(at, UTC) for at in (exchange_s, stored_s))
                _, new = store_chain(
                    chain, exchange=exchange, underlying=name, expiry=expiry, source=source,
                    exchange_at=told_at, stored_at=had_at,
                )  # fmt: skip
            except ChainRefused as error:
                report.refused[error.code] = report.refused.get(error.code, 0) + 1
                continue
            report.stored += new
            report.repeated += not new
            progress(report.chains, len(keys))
        record(
            "chains.imported", actor=actor, subject=path.name, source=source, chains=report.chains,
            stored=report.stored, repeated=report.repeated, refused=report.refused,
        )  # fmt: skip
    return report


def _columns(table: Table, lot_size: int) -> dict[str, np.ndarray]:
    columns = {"strike": table.floats("strike")}
    for side in ("ce", "pe"):
        for written, name in NAMES.items():
            if f"{side}_{written}" not in table.names:
                continue
            values = table.floats(f"{side}_{written}")
            if name in IN_LOTS:
                values = values * lot_size
            elif name == "iv":
                values = np.where(values > 0, values / 100, np.nan)  # 0: the exchange gave none
            elif name in ("ltp", "bid", "ask"):
                values = np.where(values > 0, np.round(values, 2), np.nan)  # float32 on the way
            columns[f"{side}_{name}"] = values
    return columns
