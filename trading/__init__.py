"""Tarazu: what a trade weighs against what it risks."""
