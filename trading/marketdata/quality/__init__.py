"""What is wrong with market data, and how far it can be trusted."""
