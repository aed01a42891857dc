"""The switches of a simulated venue: its clock, and stepping it by hand. No exchange has these."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from execution.brokers.errors import BusinessError, TransientError, UnexpectedReply
from execution.brokers.http import HttpClient, Reply, Timeouts
from execution.brokers.port import CallClass, ClockReading, StepResult


class SandboxControl:
    """Talks to `<base>/sandbox/*`. A step may run a whole session, so it may take its time."""

    def __init__(self, *, control_url: str, idle_s: float = 4.0) -> None:
        self._url = control_url.rstrip("/")
        self._http = HttpClient(
            headers={"content-type": "application/json"},
            timeouts=Timeouts(read=120.0, total=300.0),
            idle_s=idle_s,
        )

    def close(self) -> None:
        self._http.close()

    def clock(self) -> ClockReading:
        return self._http.read("GET", f"{self._url}/clock", understand=lambda reply: _clock(_body(reply)))

    def set_speed(self, speed: float) -> ClockReading:
        """From now on this many venue seconds a second. BusinessError where the venue does not go that fast."""
        return _clock(self._post("clock", {"speed": speed}))

    def step(self, *, ticks: int | None = None, until: datetime | None = None) -> StepResult:
        """Let so many ticks pass, or all of them up to an instant of venue time. Returns when they have."""
        if (ticks is None) == (until is None):
            raise ValueError("either ticks or until")
        wanted = {"ticks": ticks} if until is None else {"until": until.timestamp()}
        said = self._post("step", wanted)
        frames = said.get("price_frames")
        if not isinstance(frames, dict):
            raise UnexpectedReply("sandbox step: frames by connection were expected.")
        by_connection = {str(name): _count(frames[name]) for name in frames}
        return StepResult(
            venue=_instant(said.get("venue")),
            done=said.get("done") is True,
            price_frames=sum(by_connection.values()),
            order_events=_count(said.get("order_events")),
            frames_by_connection=by_connection,
        )

    def faults(self, *, kind: str, count: int = 1, **rule: Any) -> None:
        """Have the venue misbehave: `drop_reply` accepts a placement and says nothing."""
        self._post("faults", {"kind": kind, "count": count, **rule})

    def plan(self, name: str, *, seed: int | None = None) -> dict[str, Any]:
        """Play one of the venue's fault plans from its beginning; what is on now."""
        return self._post("plan", {"name": name, **({} if seed is None else {"seed": seed})})

    def act(self, name: str, **what: Any) -> str:
        """Let something happen at the exchange that nobody here asked for; the number of the order it touched."""
        return str(self._post("act", {"act": name, **what}).get("id", ""))

    def faults_done(self) -> dict[str, Any]:
        """What is on, and how often each fault was done since the venue started."""
        return self._http.read("GET", f"{self._url}/faults", understand=_body)

    def good_day(self) -> None:
        """No faults from here on."""
        self._http.read("DELETE", f"{self._url}/faults", understand=_body)

    def _post(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._url}/{name}"
        return _body(self._http.send_once("POST", url, json.dumps(body).encode(), klass=CallClass.READ))


def _body(reply: Reply) -> dict[str, Any]:
    if reply.status >= 500:
        raise TransientError("SANDBOX_UNAVAILABLE", f"HTTP {reply.status}.")
    said = reply.json()
    if not isinstance(said, dict):
        raise UnexpectedReply("sandbox: an object was expected.")
    if reply.status >= 400 or said.get("s") == "error":
        raise BusinessError("SANDBOX_DECLINED", str(said.get("message") or f"HTTP {reply.status}"))
    return said


def _clock(said: dict[str, Any]) -> ClockReading:
    speed = said.get("speed")
    if isinstance(speed, bool) or not isinstance(speed, int | Decimal):
        raise UnexpectedReply("sandbox clock: no speed.")
    try:
        session = date.fromisoformat(said["session_date"])
    except (KeyError, TypeError, ValueError):
        raise UnexpectedReply("sandbox clock: no session date.") from None
    return ClockReading(
        wall=_instant(said.get("wall")),
        venue=_instant(said.get("venue")),
        speed=float(speed),
        phase=str(said.get("phase", "")),
        session_date=session,
        running=said.get("running") is True,
        stepped=said.get("stepped") is True,
    )


def _instant(value: Any) -> datetime:
    """Epoch seconds or ISO 8601 with a zone, as UTC."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 < value < 2**35:
        return datetime.fromtimestamp(float(value), UTC)
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    raise UnexpectedReply("sandbox clock: an instant was expected.")


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnexpectedReply("sandbox step: a count was expected.")
    return value
