"""The sandbox exchange: a program of its own that speaks the FYERS v3 protocol to anyone who connects.

It shares no code with the desk's broker adapters, so that a mistake there cannot hide here.
"""
