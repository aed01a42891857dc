"""What to paste into an alert. The secret is not known any more when these are shown: its place is marked."""

FULL = """{
  "secret": "PASTE-THE-SECRET-HERE",
  "source": "tradingview",
  "timestamp": "{{timenow}}",
  "tv": {
    "exchange": "{{exchange}}",
    "symbol": "{{ticker}}",
    "timeframe": "{{interval}}",
    "action": "{{strategy.order.action}}",
    "market_position": "{{strategy.market_position}}",
    "market_position_size": "{{strategy.market_position_size}}",
    "prev_market_position": "{{strategy.prev_market_position}}",
    "prev_market_position_size": "{{strategy.prev_market_position_size}}",
    "entry_price": "{{strategy.order.price}}",
    "close_price": "{{close}}",
    "order_size": "{{strategy.order.contracts}}"
  },
  "strategy_info": {
    "trade_id": "{{strategy.order.id}}",
    "alert_name": "my strategy",
    "alert_message": "{{strategy.order.alert_message}}"
  },
  "execution_intent": {"position_size_type": "contracts", "precision_mode": "auto"},
  "risk": {"stop_loss": null, "take_profit": null, "max_slippage_percent": 0.2}
}"""

INDICATOR = """{
  "secret": "PASTE-THE-SECRET-HERE",
  "source": "tradingview",
  "timestamp": "{{timenow}}",
  "tv": {
    "exchange": "{{exchange}}",
    "symbol": "{{ticker}}",
    "timeframe": "{{interval}}",
    "action": "buy",
    "close_price": "{{close}}"
  },
  "strategy_info": {"trade_id": "my-indicator", "alert_name": "my indicator"}
}"""

SIMPLE = """{"secret": "PASTE-THE-SECRET-HERE", "symbol": "NSE:SBIN", "action": "BUY", "quantity": 10}"""

SIGNED = """import hashlib, hmac, json, urllib.request

alert = {"symbol": "NSE:SBIN", "action": "BUY", "quantity": 10,
         "trade_id": "1", "timestamp": "2026-02-16T04:15:00Z"}
body = json.dumps(alert).encode()
signature = hmac.new(b"PASTE-THE-SECRET-HERE", body, hashlib.sha256).hexdigest()
headers = {"X-Signature": signature, "Idempotency-Key": "my-alert-0001"}
print(urllib.request.urlopen(urllib.request.Request("THE-ADDRESS", body, headers)).read())"""
