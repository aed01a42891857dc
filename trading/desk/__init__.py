"""The desk on one machine: its own PostgreSQL and Valkey, and one command that keeps every process running."""
