"""Pure trade plans, the same in a backtest and live."""
