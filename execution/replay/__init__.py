"""A real day, told again: imported candles through the sandbox exchange and the whole path of a trade, in lock step."""
