"""Candles and chains from files and into them; the archive."""
