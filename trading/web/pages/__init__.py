"""One page, or one act, a file. A view fetches, calls, renders."""
