"""What is listed: instruments by date, universes, corporate actions, the day's bands."""
