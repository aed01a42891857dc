"""The words of the market. Nothing here knows Django, a database, a socket or the time of day."""
