"""The process that speaks to brokers: it holds the sockets, the warm connection and the lease of an account."""
