"""Receives an upload: the parts of a multipart request go to files, as they come.

Nothing is held in memory but the piece that has just arrived. Files get names of our own (file-00001 in folder-00001);
the names that the browser sent are kept in memory alone, to show them.
"""

import dataclasses
import pathlib
import typing

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from kits_tf.web.errors import BAD, TOO_LARGE, RefusalError, full_disk_refused

MOST_FILES = 20000  # of one scan; a CT series has 2000 at most
MOST_FIELD_BYTES = 1000  # of a part that is no file
MOST_NAME = 200  # letters of a name
MOST_DRAINED_BYTES = 2**31  # of a refused upload, so that the browser reads the answer


@dataclasses.dataclass
class Upload:
    """The files of an upload.

    Attributes:
        folder: the folder that holds them, directly or in its subfolders.
        names: their paths below `folder`, in the order they came, each with the path that the user gave.
        folders: the user's folder of each subfolder; "" is `folder` itself.
        series: the SeriesInstanceUID that is meant, if the upload has several; else empty.
    """

    folder: pathlib.Path
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: dict[str, str] = dataclasses.field(default_factory=lambda: {"": ""})
    series: str = ""

    def place(self, name: str) -> pathlib.Path:
        """Returns the path of the next file, and makes its folder.

        Args:
            name: the file's path as the user has it, with / or \\. It is not used as a path.

        Raises:
            RefusalError: if there are more than MOST_FILES.
        """
        if len(self.names) >= MOST_FILES:
            raise RefusalError(TOO_LARGE, f"The upload has more than {MOST_FILES} files; upload one scan.")
        above, _, base = name.replace("\\", "/").rpartition("/")
        folder = self.folders.setdefault(above, f"folder-{len(self.folders):05}")
        (self.folder / folder).mkdir(exist_ok=True)
        path = self.folder / folder / f"file-{len(self.names) + 1:05}"
        self.names[path.relative_to(self.folder).as_posix()] = base[:MOST_NAME]
        return path


async def receive(request: Request, folder: pathlib.Path, most_bytes: int) -> Upload:
    """Writes the files of a request to a folder.

    Args:
        request: multipart/form-data with parts named `file`, and optionally one named `series`; others are ignored.
        folder: an empty folder.
        most_bytes: of the request's body.

    Raises:
        RefusalError: if the body is no such request, ends early, or is larger than `most_bytes`.
        starlette.requests.ClientDisconnect: if the sender goes away.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusalError(BAD, "The upload must be multipart/form-data with one or more parts named file.")
    too_large = RefusalError(TOO_LARGE, f"The upload is larger than {most_bytes / 2**20:g} MB, the limit of this "
                                        f"server (--max_upload_mb).")
    claimed = request.headers.get("content-length", "")
    refused: Exception | None = too_large if claimed.isdecimal() and int(claimed) > most_bytes else None
    if refused is not None and "expect" in request.headers:
        raise refused  # the sender waits for leave to send
    upload, received = Upload(folder), 0
    with _Parts(upload) as parts:
        try:
            parser = MultipartParser(options[b"boundary"], parts.callbacks())
        except FormParserError as error:
            raise RefusalError(BAD, "The upload's boundary is invalid.") from error
        async for chunk in request.stream():
            received += len(chunk)
            if refused is None:
                try:
                    if received > most_bytes:
                        raise too_large
                    with full_disk_refused():
                        parser.write(chunk)
                except RefusalError as error:
                    refused = error
                except FormParserError as error:
                    refused = RefusalError(BAD, "The upload is no valid multipart/form-data.")
                    refused.__cause__ = error
            elif received > MOST_DRAINED_BYTES:
                break
    if refused is not None:
        raise refused
    if not parts.ended:
        raise RefusalError(BAD, "The upload ended early; send it again.")
    if not upload.names:
        raise RefusalError(BAD, "The upload has no part named file.")
    return upload


class _Parts:
    """What a parser calls: writes parts named `file` to files, and keeps the field `series`."""

    def __init__(self, upload):
        self._upload, self._stream, self._text = upload, None, None
        self._field, self._value, self._headers = b"", b"", {}
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._stream is not None:
            self._stream.close()

    def callbacks(self) -> typing.Any:
        return {"on_part_begin": self._begin, "on_header_field": self._header_field,
                "on_header_value": self._header_value, "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished, "on_part_data": self._data, "on_part_end": self._end,
                "on_end": self._all}

    def _begin(self):
        self._field, self._value, self._headers = b"", b"", {}

    def _header_field(self, data, start, end):
        self._field += data[start:end]

    def _header_value(self, data, start, end):
        self._value += data[start:end]

    def _header_end(self):
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _headers_finished(self):
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if name == b"file":
            given = options.get(b"filename", b"").decode(errors="replace")
            self._stream = open(self._upload.place(given), "wb")  # noqa: SIM115  closed at the part's end
        elif name == b"series":
            self._text = b""

    def _data(self, data, start, end):
        if self._stream is not None:
            self._stream.write(data[start:end])
        elif self._text is not None:
            self._text += data[start:end]
            if len(self._text) > MOST_FIELD_BYTES:
                raise RefusalError(BAD, "The field series is longer than a UID.")

    def _end(self):
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        elif self._text is not None:
            self._upload.series, self._text = self._text.decode(errors="replace"), None

    def _all(self):
        self.ended = True
