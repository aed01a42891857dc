"""The sandbox's own door: clock, steps and the fault panel. No broker has one; only this machine may use it."""

from __future__ import annotations

import html
import ipaddress
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from execution.sandbox.exchange import Exchange, Refused
from execution.sandbox.faults import KINDS, BadPlan, FaultDeck, Plan, Rule, shipped
from execution.sandbox.fyers_sockets import Sockets
from execution.sandbox.http import ApiError, Reply, Request, Scope, ok
from execution.sandbox.mischief import ACTS, act

SILENT_AT_MOST_S = 3600
OLD_NAMES = {"delay_ms": "delay"}


def only_from_here(scope: Scope, request: Request) -> None:
    """ApiError 403 for other machines, and for pages of other sites in a browser of this one."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    origin = request.headers.get("origin")
    if not near or (origin and urlsplit(origin).netloc != request.headers.get("host")):
        raise ApiError(403, 403, "the controls of the sandbox are for this machine alone")


class FaultPanel:
    """Switches plans, rules and acts. `handle` returns None for paths that are not its own."""

    def __init__(self, *, deck: FaultDeck, exchange: Exchange, sockets: Sockets) -> None:
        self.deck = deck
        self.exchange = exchange
        self.sockets = sockets

    def handle(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "GET", "/sandbox/panel":
                return Reply(200, self._page("").encode(), "text/html; charset=utf-8")
            case "POST", "/sandbox/panel":
                return self._pressed(request)
            case "GET", "/sandbox/faults":
                return ok(self._state())
            case "DELETE", "/sandbox/faults":
                self.deck.clear()
                return ok(self._state())
            case "POST", "/sandbox/faults":
                return ok(self._add(request.json_object()))
            case "POST", "/sandbox/plan":
                return ok(self._play(request.json_object()))
            case "POST", "/sandbox/act":
                return ok(self._act(request.json_object()))
        return None

    def _state(self) -> dict[str, Any]:
        return {**self.deck.shown(), "silent_for_s": round(max(0.0, self.deck.silent_until - time.time()), 1)}

    def _play(self, body: dict[str, Any]) -> dict[str, Any]:
        """Play a plan by its name, or one that is given whole."""
        seed = body.get("seed")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ApiError(400, -50, "seed must be a whole number")
        try:
            plan = Plan.read(body["plan"]) if "plan" in body else shipped().get(str(body.get("name")))
        except BadPlan as error:
            raise ApiError(400, -50, str(error)) from error
        if plan is None:
            raise ApiError(400, -50, f"there are the plans {', '.join(shipped())}")
        self.deck.play(plan, seed=seed)
        return self._state()

    def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        """One more rule; `drop_socket`, `silence` and `replay_frames` happen at once."""
        kind = OLD_NAMES.get(str(body.get("kind")), body.get("kind"))
        if kind == "drop_socket":
            return {"dropped": self.sockets.drop_all()}
        if kind == "silence":
            self.deck.silent_until = time.time() + _whole(body, "seconds", 30, SILENT_AT_MOST_S)
            return self._state()
        if kind == "replay_frames":
            return {"said_again": self.sockets.say_again(_whole(body, "count", 20, 200))}
        try:
            self.deck.add(Rule.read({"count": 1, **body, "kind": kind}))
        except BadPlan as error:
            raise ApiError(400, -50, f"{error}, drop_socket, silence, replay_frames") from error
        return {"dropped": 0, **self._state()}

    def _act(self, body: dict[str, Any]) -> dict[str, Any]:
        user = str(body.get("user") or next(iter(self.exchange.accounts)))
        if user not in self.exchange.accounts:
            raise ApiError(400, -50, "there is no such user")
        side, symbol = body.get("side", 1), str(body.get("symbol", ""))
        if side not in (1, -1) or (body.get("act") == "manual_trade" and symbol not in self.exchange.market.listings):
            raise ApiError(400, -50, "side must be 1 or -1, and the symbol a known one")
        try:
            touched = act(
                self.exchange, str(body.get("act")), user=user, order_id=str(body.get("id") or ""), symbol=symbol,
                side=side, qty=_whole(body, "qty", 1, 1_000_000) or 1, wall=time.time(),
            )  # fmt: skip
        except Refused as refusal:
            raise ApiError(400, refusal.code, refusal.message) from refusal
        self.deck.done[str(body["act"])] += 1
        return {"id": touched}

    # -- by hand -------------------------------------------------------------------------------------------------

    def _pressed(self, request: Request) -> Reply:
        """A button of the page: the same switches, by form."""
        fields = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
        body: dict[str, Any] = {
            name: int(value) if value.lstrip("-").isdigit() else value for name, value in fields.items() if value
        }
        switch = body.pop("switch", "")
        if "chance" in body:
            body["chance"] = body["chance"] / 100 if isinstance(body["chance"], int) else 1.0
        try:
            if switch == "plan":
                self._play(body)
            elif switch == "rule":
                self._add(body)
            elif switch == "act":
                self._act(body)
            else:
                self.deck.clear()
            said = "Done."
        except ApiError as error:
            said = error.message
        return Reply(200, self._page(said).encode(), "text/html; charset=utf-8")

    def _page(self, said: str) -> str:
        state = self._state()
        plans = "".join(f"<option>{html.escape(n)}</option>" for n in shipped())
        kinds = "".join(
            f"<option value='{kind}'>{kind}: {html.escape(what)}</option>"
            for kind, what in [
                *((kind, what) for kind, (_, what) in KINDS.items()), ("drop_socket", "all sockets are cut"),
                ("silence", "all sockets fall silent for `seconds`"),
                ("replay_frames", "the last `count` frames again"),
            ]
        )  # fmt: skip
        acts = "".join(f"<option value='{name}'>{name}: {html.escape(what)}</option>" for name, what in ACTS.items())
        rules = "".join(
            f"<tr><td>{r['kind']}<td>{r['on']}<td>{r['chance']:g}<td>{r['fired']} of {r['seen']} calls"
            for r in state["rules"]
        )
        done = ", ".join(f"{kind} {count}" for kind, count in state["done"].items()) or "nothing yet"
        return PAGE.format(
            said=html.escape(said), plan=html.escape(state["plan"] or "none"), rules=rules or "<tr><td>none", done=done,
            plans=plans, kinds=kinds, acts=acts,
        )  # fmt: skip


def _whole(body: dict[str, Any], name: str, usual: int, most: int) -> int:
    value = body.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ApiError(400, -50, f"{name} must be a whole number from 0 to {most}")
    return value


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Fault panel</title><style>:root{{color-scheme:light dark}}body{{font:15px system-ui;max-width:46rem;
margin:2rem auto;padding:0 1rem}}form{{display:flex;flex-wrap:wrap;gap:.5rem;margin:.8rem 0}}select{{max-width:100%}}
input{{width:7rem}}table{{border-collapse:collapse}}td{{padding:.2rem .8rem .2rem 0}}</style>
<h1>Fault panel</h1><p role="status">{said}</p><p>Plan: <b>{plan}</b>. Done so far: {done}.</p><table>{rules}</table>
<form method="post"><input type="hidden" name="switch" value="plan"><select
name="name" aria-label="plan">{plans}</select>
<input name="seed" placeholder="seed" aria-label="seed"><button>Play</button></form>
<form method="post"><input type="hidden" name="switch" value="rule"><select
name="kind" aria-label="fault">{kinds}</select>
<input name="chance" placeholder="chance %" aria-label="chance in per cent"><input name="count" placeholder="count"
aria-label="count"><input name="ms" placeholder="ms" aria-label="milliseconds"><input name="seconds"
placeholder="seconds" aria-label="seconds"><button>Switch on</button></form>
<form method="post"><input type="hidden" name="switch" value="act"><select name="act" aria-label="act">{acts}</select>
<input name="symbol" placeholder="NSE:SBIN-EQ" aria-label="symbol"><input name="qty"
placeholder="qty" aria-label="quantity">
<input name="side" placeholder="1 or -1" aria-label="side"><button>Let it happen</button></form>
<form method="post"><button>A good day again</button></form></html>"""
