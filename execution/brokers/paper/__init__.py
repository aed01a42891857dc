"""The paper broker: an account that the desk keeps itself, on the prices of a real connection."""
