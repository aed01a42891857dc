"""Strategy contracts: what a strategy promises, written down and versioned by content."""
