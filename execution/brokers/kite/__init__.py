"""All that is Kite-shaped."""
