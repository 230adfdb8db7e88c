"""The two errors shown to users. Commands print the message as one line, without a stack trace."""


class InputError(ValueError):
    """An error in the user's input. The message is one line: what is wrong, where, and what to do."""


class RunError(InputError):
    """An error that would also stop every later case, such as a full disk or a missing model. It ends the run."""
