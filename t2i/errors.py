"""The error that a person can mend: its text says what was wrong and what is allowed."""


class InputError(ValueError):
    """Wrong input from a person; shown as one line, never as a traceback."""
