"""What a strategy would have done: market and plan in, trades, equity and figures out.

market      bars on one axis, with the exchange's hours marked on them
files       a market from a CSV file
candles     a market from the desk's stored candles
plan        rules, exits, sizing and costs; from a contract or from two rules
charges     the dated charges as numbers a kernel can use
kernels     the event loop
engine      plan × market → result
metrics     figures of a result, each convention written down
result      trades, equity, and the report as plain values
"""
