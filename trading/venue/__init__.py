"""How Indian exchanges and brokers behave, as dated data and arithmetic. No Django, no I/O."""
