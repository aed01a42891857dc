"""Where masters come from: files, or the brokers' public folders. Taking over is market data's."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from accounts.models import BrokerAccount
from execution.brokers.errors import AuthError, BrokerError
from execution.brokers.master_files import read_master
from execution.brokers.registry import dialect_of, place_of, token_of
from trading.domain.errors import TradingError
from trading.marketdata.listing.instruments import Diff, MasterRefused, Origin, refresh_instruments, refuse
from trading.monitoring.alerts import Level, clear_alerts, raise_alert

logger = logging.getLogger(__name__)
SOURCES: dict[str, str] = {BrokerAccount.Broker.FYERS: "FYERS", BrokerAccount.Broker.ZERODHA: "KITE"}


@dataclass(slots=True)
class Taken:
    """What became of one master."""

    name: str
    source: str = ""
    as_of: date | None = None
    diff: Diff | None = None
    error: dict[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": self.name,
            "source": self.source,
            "as_of": self.as_of and self.as_of.isoformat(),
        }
        if self.diff is not None:
            told |= {"listed": self.diff.listed, "counts": self.diff.counts(), "renamed": self.diff.renamed,
                     "refused": dict(list(self.diff.refused.items())[:20])}  # fmt: skip
        return told | {"error": self.error}


def refresh_from_files(
    paths: Sequence[Path], *, now: datetime, actor: str, whole: bool, force: bool = False, as_of: date | None = None
) -> list[Taken]:
    """Take over each file, in the order given; one that is refused is told, the others go on.

    `whole`: each file is all there is of its markets, so what it lists no more is put out of use.
    """
    taken: list[Taken] = []
    for path in paths:
        one = Taken(path.name)
        taken.append(one)
        try:
            master = read_master(path)
        except MasterRefused as error:
            one.error = {"code": error.code, "message": error.message}
            refuse(error, now=now, actor=actor, origin=Origin("", path.name))
            continue
        one.source, one.as_of = master.source, as_of or master.as_of
        try:
            one.diff = refresh_instruments(
                master.listed, now=now, retire=whole, actor=actor, force=force,
                origin=Origin(master.source, path.name, master.sha256, one.as_of),
            )  # fmt: skip
        except MasterRefused as error:
            one.error = {"code": error.code, "message": error.message}
    return taken


def refresh_from_broker(account: BrokerAccount, *, now: datetime, actor: str) -> list[Taken]:
    """Fetch and take over the masters of an account's broker.

    A master that cannot be had, or cannot be true, raises the alert MASTER_REFUSED; yesterday's stays in use. Where a
    broker shows its masters only to those who are signed in, an account that is not is passed over.
    """
    taken: list[Taken] = []
    source = SOURCES[account.broker]
    try:
        token = "" if source == "FYERS" else token_of(account)
    except AuthError as error:
        return [Taken(account.name, source=source, error={"code": error.code, "message": error.message})]
    for stem, gateway in dialect_of(account).masters(place_of(account), app_id=account.app_id, token=token).items():
        one = Taken(stem, source=source)
        taken.append(one)
        try:
            one.diff = refresh_instruments(
                gateway.instruments(), now=now, retire=account.is_live, actor=actor, origin=Origin(source, stem)
            )
        except (BrokerError, MasterRefused) as error:
            one.error = {"code": error.code, "message": error.message}
            _tell(account, stem, error)
        else:
            clear_alerts("MASTER_REFUSED", owner_id=None, about=stem)
        finally:
            gateway.close()
    return taken


def _tell(account: BrokerAccount, stem: str, error: TradingError) -> None:
    logger.warning("master %s of account %s: %s", stem, account.pk, error)
    raise_alert(
        "MASTER_REFUSED", f"The instrument master {stem} was not taken over: {error.message}", level=Level.WARNING,
        about=stem, next_step="Look at the file; manage.py refresh_instruments takes it over by hand.",
    )  # fmt: skip
