"""The errors of the HTTP interface: a status and one sentence, sent as {"detail": sentence}."""

import contextlib
import errno
from collections.abc import Iterator

from kits_tf.errors import RunError

BAD, FORBIDDEN, UNKNOWN, EARLY, TOO_LARGE = 400, 403, 404, 409, 413
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RefusalError(Exception):
    """A request that is not fulfilled.

    Attributes:
        status: the HTTP status.
        detail: the reason, one sentence.
        more: other values of the answer.
    """

    def __init__(self, status: int, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more


@contextlib.contextmanager
def full_disk_refused() -> Iterator[None]:
    """Turns the error of a full disk into a RefusalError, and any other OSError of writing as well."""
    try:
        yield
    except RunError as error:
        raise RefusalError(TOO_LARGE, f"The server cannot store the scan: {error}") from error
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise RefusalError(TOO_LARGE, f"The server cannot store the scan ({error.strerror}); delete others first."
                      ) from error
