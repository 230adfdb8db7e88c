"""The two errors that a user may see. Commands print their message, one line, without a stack trace."""


class InputError(ValueError):
    """A mistake in what the user gave. The message is one line: what is wrong, where, and what to do."""


class RunError(InputError):
    """An error that would stop every later case too, such as a full disk or a missing model. It ends the run."""
