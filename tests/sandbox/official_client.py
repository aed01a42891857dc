"""Drives the official client against a sandbox; prints what it saw as one JSON line. Arguments: port, log folder.

A program of its own: the client's sockets are process-wide singletons and its threads keep a process alive.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from fyers_apiv3 import fyersModel
from fyers_apiv3.FyersWebsocket import data_ws, order_ws

SBIN, NIFTY = "NSE:SBIN-EQ", "NSE:NIFTY50-INDEX"
APP, SECRET = "SANDBOX001-100", "sandbox-secret"


def wait_for(check: Any, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if check():
            return True
        time.sleep(0.05)
    return False


def main(port: int, logs: str) -> dict[str, Any]:
    host = f"127.0.0.1:{port}"
    fyersModel.Config.API = f"http://{host}/api/v3"
    fyersModel.Config.DATA_API = f"http://{host}/data"
    data_ws.defines.INDEX_HSM_MAPPING_API = f"http://{host}/sym_details/index_hsm_mapping.json"
    ordinary = data_ws.SymbolConversion.__init__

    def here(self: Any, *args: Any, **named: Any) -> None:
        ordinary(self, *args, **named)
        self.symbols_token_api = f"http://{host}/data/symbol-token"

    data_ws.SymbolConversion.__init__ = here
    seen: dict[str, Any] = {}

    session = fyersModel.SessionModel(
        client_id=APP,
        secret_key=SECRET,
        redirect_uri="http://127.0.0.1/cb",
        response_type="code",
        grant_type="authorization_code",
        state="k3v9",
    )
    redirect = requests.get(session.generate_authcode(), allow_redirects=False, timeout=5)
    back = parse_qs(urlsplit(redirect.headers["location"]).query)
    session.set_token(back["auth_code"][0])
    token = session.generate_token()["access_token"]
    model = fyersModel.FyersModel(client_id=APP, token=token, log_path=logs)
    seen["profile"] = model.get_profile()

    prices: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    trades: list[dict[str, Any]] = []
    positions: list[dict[str, Any]] = []
    full = f"{APP}:{token}"
    feed = data_ws.FyersDataSocket(
        access_token=full,
        log_path=logs,
        litemode=False,
        write_to_file=False,
        reconnect=False,
        on_message=prices.append,
        on_connect=lambda: feed.subscribe(symbols=[SBIN, NIFTY], data_type="SymbolUpdate"),
    )
    feed._FyersDataSocket__url = f"ws://{host}/hsm/v1-5/prod"
    feed.connect()
    books = order_ws.FyersOrderSocket(
        access_token=full,
        log_path=logs,
        reconnect=False,
        on_orders=orders.append,
        on_trades=trades.append,
        on_positions=positions.append,
        on_connect=lambda: books.subscribe(data_type="OnOrders,OnTrades,OnPositions"),
    )
    books._FyersOrderSocket__url = f"ws://{host}/trade/v3"
    books.connect()
    time.sleep(0.3)

    def ticks(symbol: str) -> list[dict[str, Any]]:
        return [p for p in prices if p.get("symbol") == symbol]

    seen["ticked"] = wait_for(lambda: len(ticks(SBIN)) >= 3 and len(ticks(NIFTY)) >= 3, 15)
    seen["status_types"] = sorted({p["type"] for p in prices if "code" in p})
    seen["share_tick"], seen["index_tick"] = ticks(SBIN)[-1], ticks(NIFTY)[-1]
    seen["tick_times"] = [p["exch_feed_time"] for p in ticks(SBIN)]

    seen["quotes"] = model.quotes({"symbols": f"{SBIN},{NIFTY}"})
    seen["depth"] = model.depth({"symbol": SBIN, "ohlcv_flag": "1"})
    seen["market_status"] = model.market_status()
    now = int(seen["quotes"]["d"][0]["v"]["tt"])
    span = {
        "symbol": SBIN,
        "resolution": "5",
        "date_format": "0",
        "range_from": str(now - 5 * 86_400),
        "range_to": str(now),
    }
    seen["history"] = model.history({**span, "cont_flag": "1"})
    time.sleep(1.1)
    low = seen["depth"]["d"][SBIN]["bids"][-1]["price"] - 5
    order = {
        "symbol": SBIN,
        "qty": 10,
        "type": 1,
        "side": 1,
        "productType": "INTRADAY",
        "limitPrice": low,
        "stopPrice": 0,
        "validity": "DAY",
        "disclosedQty": 0,
        "offlineOrder": False,
        "stopLoss": 0,
        "takeProfit": 0,
        "orderTag": "resting1",
    }
    seen["placed"] = model.place_order(order)
    resting = seen["placed"]["id"]
    seen["modified"] = model.modify_order({"id": resting, "type": 1, "limitPrice": low - 1, "qty": 12})
    seen["cancelled"] = model.cancel_order({"id": resting})
    seen["bought"] = model.place_order({**order, "type": 2, "limitPrice": 0, "orderTag": "market1"})
    seen["refused"] = model.place_order({**order, "limitPrice": 800.03})
    seen["basket"] = model.place_basket_orders([{**order, "orderTag": "basket1"}])
    seen["events"] = wait_for(lambda: trades and positions and len(orders) >= 5, 5)
    time.sleep(1.1)  # ten requests a second are allowed, and the client does not count
    seen["orderbook"], seen["tradebook"] = model.orderbook(), model.tradebook()
    seen["one_order"] = model.get_orders({"id": resting})
    seen["positions"], seen["funds"], seen["holdings"] = model.positions(), model.funds(), model.holdings()
    seen["exit"] = model.exit_positions({"id": f"{SBIN}-INTRADAY"})
    seen["order_events"], seen["trade_events"], seen["position_events"] = orders, trades, positions
    seen["logout"] = model.logout()
    seen["after_logout"] = model.funds()
    return seen


if __name__ == "__main__":
    try:
        result = main(int(sys.argv[1]), sys.argv[2])
        print("SEEN " + json.dumps(result), flush=True)
        os._exit(0)  # the client's threads would keep the process alive
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
