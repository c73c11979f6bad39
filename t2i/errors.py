"""The error for wrong input: its text says what is wrong and what is allowed."""


class InputError(ValueError):
    """Wrong input from a user; shown as one line, never as a traceback."""
