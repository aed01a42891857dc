"""What the desk promises, tried until it breaks: seeded campaigns that kill it, lie to it and race it.

`python -m tests.prove` runs them all and writes the counts to var/prove.json; `make test` runs a sample of each.
"""
