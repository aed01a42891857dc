"""How fast the desk is, beside a peer timed in the same run. `python -m tests.bench`."""
