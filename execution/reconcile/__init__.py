"""The desk and the broker side by side: what is missing here is taken over, what nobody can explain is held back.

It never sends an order, never ends one because it is not shown, and never makes up a price. Run twice, it changes
nothing the second time.
"""
