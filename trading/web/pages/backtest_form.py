"""The form of a new run: what each kind asks for, and its answers as a request and a study."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.http import QueryDict

from accounts.models import User
from strategies.backtest.request_fields import FIELDS, MONEY, RequestField
from strategies.backtest.request_fields import Kind as FieldKind
from strategies.contracts.schema import ContractError
from strategies.models import BacktestRun, ContractVersion, RunResult
from strategies.reports.figures import written
from strategies.runs.studies.settings import OBJECTIVES
from trading.marketdata.models import Feed

Kind = BacktestRun.Kind
REQUEST_FIELDS = tuple(one.name for one in FIELDS if one.kind is not FieldKind.BY_NAME and one.name != "timeframe")
USUAL_SLIPPAGE = "2"  # basis points, in an empty form: nothing fills for nothing
SHOWN_SOURCES = 60


@dataclass(frozen=True)
class KindForm:
    """What one kind of run is asked with. `fields`: name, label, usual value, and choices where there are any."""

    words: str
    market: bool = True
    sweeps: bool = False
    runs: str = ""
    one_run: bool = False
    weighted: bool = False
    fields: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = field(default=())


METHODS = (("grid", "every set"), ("random", "some, by lot"), ("optuna", "as Optuna learns"))
DRAWS = (("shuffle", "the same trades in another order"), ("bootstrap", "trades drawn anew"))
OBJECTIVE = ("objective", "Look for the highest", "sharpe", tuple((one, one.replace("_", " ")) for one in OBJECTIVES))
FEWEST = ("fewest_trades", "With at least so many trades", "5", ())
SEED = ("seed", "Seed", "1", ())
KINDS: dict[str, KindForm] = {
    Kind.BACKTEST: KindForm("What a contract would have done on stored candles, within the limits of the house."),
    Kind.SWEEP: KindForm(
        "Many sets of parameters on one market: which was best, how steadily, and how much of it is luck.",
        sweeps=True,
        fields=(
            ("method", "Try", "grid", METHODS),
            ("samples", "How many, by lot or Optuna", "200", ()), OBJECTIVE, FEWEST, SEED,
        ),
    ),
    Kind.WALK_FORWARD: KindForm(
        "Learn parameters on some months, test them on the next, roll on. It passes when more than 60 % of the test"
        " windows earn.",
        sweeps=True,
        fields=(
            ("train_months", "Months to learn on", "3", ()), ("test_months", "Months to test on", "1", ()), OBJECTIVE,
            FEWEST,
        ),
    ),
    Kind.LOOK_AHEAD: KindForm(
        "Cuts the future off, again and again, and looks whether the past of a plan changes. It must not.",
        fields=(("cuts", "Cuts", "20", ()), SEED),
    ),
    Kind.MONTE_CARLO: KindForm(
        "The trades of one backtest in other orders, or drawn anew: how much of the way was luck.",
        market=False, runs="Whose trades", one_run=True,
        fields=(
            ("draw", "Paths", "shuffle", DRAWS),
            ("paths", "How many", "2000", ()), ("ruin_pct", "Call it ruin at a drawdown of, %", "30", ()), SEED,
        ),
    ),
    Kind.PORTFOLIO: KindForm(
        "Several finished backtests held together, brought back to their weights every day.",
        market=False, runs="What is held", weighted=True,
        fields=(
            ("weighting", "Weights", "risk_parity",
             (("equal", "equal"), ("inverse_volatility", "inverse volatility"), ("risk_parity", "risk parity"),
              ("custom", "custom"))),
        ),
    ),
}  # fmt: skip


def contracts_of(user: User) -> list[dict[str, str]]:
    """The newest version of every contract this person may test."""
    seen: set[int] = set()
    found = []
    for version in (
        ContractVersion.objects.for_user(user).select_related("contract").order_by("contract__name", "-number")
    ):
        if version.contract_id not in seen:
            seen.add(version.contract_id)
            owned = "" if version.contract.owner_id is None else " · yours"
            found.append(
                {
                    "value": f"{version.contract.slug}@{version.number}",
                    "label": f"{version.contract.name} v{version.number}{owned}",
                }
            )
    return found


def parameters_of(user: User, contract: str, given: Mapping[str, str]) -> list[dict[str, str]]:
    """The parameters of a contract with their ranges, and what was typed for them."""
    slug, _, number = contract.partition("@")
    if not slug.isprintable():
        return []
    versions = ContractVersion.objects.for_user(user).filter(contract__slug=slug).order_by("contract__owner", "-number")
    version = versions.filter(number=int(number)).first() if number.isdecimal() else versions.first()
    if version is None:
        return []
    try:
        specs = version.parsed().parameters
    except ContractError:
        return []
    return [
        {
            "name": name, "default": f"{spec.default:f}", "min": f"{spec.min:f}", "max": f"{spec.max:f}",
            "value": given.get(f"p.{name}", ""), "from": given.get(f"from.{name}", ""),
            "to": given.get(f"to.{name}", ""), "step": given.get(f"step.{name}", ""),
        }
        for name, spec in specs
    ]  # fmt: skip


def usual(user: User, today: Any, contracts: list[dict[str, str]]) -> dict[str, str]:
    """An empty form: the last request of this person where there is one, else three months up to yesterday."""
    last = BacktestRun.objects.for_user(user).exclude(request={}).order_by("-created_at").first()
    if last is not None:
        return as_given(last)
    return {
        "contract": contracts[0]["value"] if contracts else "", "feed": feeds()[0] if feeds() else "NSE",
        "from": (today - timedelta(days=91)).isoformat(), "to": (today - timedelta(days=1)).isoformat(),
        **{one.name: one.usual for one in MONEY}, "slippage": USUAL_SLIPPAGE,
    }  # fmt: skip


def money_of(given: Mapping[str, str]) -> list[tuple[RequestField, str]]:
    """The fields about money, each with what stands in it."""
    return [(one, given.get(one.name, one.usual)) for one in MONEY]


def as_given(run: BacktestRun) -> dict[str, str]:
    """A stored wish as the fields of the form."""
    request, study = run.request, run.study
    given = {name: "" if request.get(name) is None else str(request.get(name, "")) for name in REQUEST_FIELDS}
    given["symbols"] = " ".join(request.get("symbols", []))
    given |= {f"p.{name}": str(value) for name, value in request.get("parameters", {}).items()}
    for name, span in study.get("ranges", {}).items():
        given |= {f"{part}.{name}": str(span[part]) for part in ("from", "to", "step")}
    return given | {f"s.{name}": str(value) for name, value in study.items() if isinstance(value, str | int | float)}


def feeds() -> list[str]:
    return list(Feed.objects.exclude(kind=Feed.Kind.REPLAY).order_by("name").values_list("name", flat=True))


def wish_of(kind: str, posted: QueryDict) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What was typed, as a request (None: made of other runs) and a study."""
    typed: dict[str, str] = {name: str(value) for name, value in posted.dict().items()}
    form = KINDS[kind]
    request: dict[str, Any] | None = None
    if form.market:
        request = {name: posted.get(name, "").strip() for name in REQUEST_FIELDS}
        request["parameters"] = {
            name[2:]: value.strip() for name, value in typed.items() if name.startswith("p.") and value.strip()
        }
    study: dict[str, Any] = {
        name: posted.get(f"s.{name}", "").strip() for name, *_ in form.fields if posted.get(f"s.{name}", "").strip()
    }
    if form.sweeps:
        names = [name[5:] for name, value in typed.items() if name.startswith("from.") and value.strip()]
        study["ranges"] = {
            name: {part: posted.get(f"{part}.{name}", "").strip() for part in ("from", "to", "step")} for name in names
        }
    if form.runs:
        study["runs"] = posted.getlist("run")
    if form.weighted:
        study["custom"] = {
            name[7:]: value.strip() for name, value in typed.items() if name.startswith("weight.") and value.strip()
        }
    return request, study


def sources_of(user: User, chosen: list[str], weights: Mapping[str, str]) -> list[dict[str, Any]]:
    """Finished backtests of this person, newest first, for studies that are made of them."""
    rows = (
        RunResult.objects.filter(run__owner=user, run__kind=Kind.BACKTEST)
        .select_related("run")
        .defer("report", "arrays")
        .order_by("-run__created_at")[:SHOWN_SOURCES]
    )
    return [
        {
            "run": row.run,
            "chosen": str(row.run_id) in chosen,
            "words": f"{row.run.request['from']} to {row.run.request['to']} ·"
            f" {written('return_pct', row.figures.get('return_pct'))} ·"
            f" {written('trades', row.figures.get('trades'))} trades",
            "weight": weights.get(str(row.run_id), ""),
        }
        for row in rows
    ]


def key_of(posted: QueryDict) -> uuid.UUID:
    """The form's own key, so that a second press is the same wish; a new one where it was lost."""
    try:
        return uuid.UUID(posted.get("key", ""))
    except ValueError:
        return uuid.uuid4()
