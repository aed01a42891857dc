"""Alerts of other programs: proof of the sender, reading, symbols, size, one Signal row each; owners' commands.

`receive` is the story; `signature`, `strict_json`, `masking`, `payload` and `adapters` are pure and know no row.
"""
