"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Input that cannot be used: one line naming the file or key, what was expected and what was found."""
