"""The two errors shown to users. Commands print the message as one line, without a stack trace.

`one_line` and `few` shorten what messages quote; `printable` keeps a message on its line.
"""

import unicodedata
from collections.abc import Sequence

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control, surrogates, line and paragraph separators


class InputError(ValueError):
    """An error in the user's input. The message is one line: what is wrong, where, and what to do."""


class RunError(InputError):
    """An error that would also stop every later case, such as a full disk or a missing model. It ends the run."""


def one_line(thing: object) -> str:
    """Returns the text of an error or another object as one line of at most 300 printable characters.

    Without any text, it is the name of the object's type.
    """
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(thing)).split())
    return (text if len(text) <= 300 else f"{text[:297]}...") or type(thing).__name__


def printable(text: str) -> str:
    """Returns a text with control characters and line breaks escaped, which names of files may have.

    >>> print(printable("a" + chr(10) + "b"))
    a\\nb
    """
    return "".join(letter.encode("unicode_escape").decode() if unicodedata.category(letter) in UNPRINTABLE else letter
                   for letter in text)


def few(texts: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """Joins texts; of a long list only the first, and the number of the others.

    >>> few(["a", "b", "c"], most=1)
    'a and 2 more'
    """
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more
