class DeskError(Exception):
    """The desk cannot start. The message is one line that says what to do."""
