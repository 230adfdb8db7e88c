"""Unpacks an uploaded zip into files with names of our own, under limits.

An archive is not trusted: neither its names, nor its number of entries, nor the sizes that it claims.
"""

import pathlib
import re
import stat
import zipfile

from kits_tf.scans.dicom import MOST_BYTES
from kits_tf.scans.limits import is_bomb
from kits_tf.web.errors import BAD, TOO_LARGE, RefusalError, full_disk_refused
from kits_tf.web.upload import MOST_FILES, Upload

MARKS = (b"PK\3\4", b"PK\5\6")  # of an archive, and of one without entries
MOST_DIRECTORY_BYTES = 2**24  # of the archive's list of entries: MOST_FILES with names of 800 letters
END, END_64, LOCATOR = b"PK\5\6", b"PK\6\6", b"PK\6\7"  # records at an archive's end
LONGEST_END = 2**16 + 256
CHUNK_BYTES = 2**20


def is_zip(path: pathlib.Path) -> bool:
    """Returns whether a file begins as a zip does."""
    with open(path, "rb") as stream:
        return stream.read(4) in MARKS


def unpack(archive: pathlib.Path, upload: Upload) -> None:
    """Unpacks a zip's files into an upload.

    Args:
        archive: the file.
        upload: receives the files. Hidden ones (of a Mac, in __MACOSX and with names that begin with a dot) are left
            out.

    Raises:
        RefusalError: if it is damaged or encrypted; if an entry is a link or has a path that leads out of the archive;
            if it unpacks to more than a series has (scans/limits.py), or has too many entries.
    """
    size, unpacked = archive.stat().st_size, 0
    _check_directory(archive, size)
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                _check_entry(entry)
                if entry.is_dir() or _is_hidden(entry.filename):
                    continue
                with opened.open(entry) as packed, full_disk_refused(), open(upload.place(entry.filename), "wb") as to:
                    while chunk := packed.read(CHUNK_BYTES):
                        unpacked += len(chunk)
                        if unpacked > MOST_BYTES or is_bomb(unpacked, size):
                            raise RefusalError(TOO_LARGE, "The zip unpacks to more than a CT series has; upload the "
                                                          "scan itself.")
                        to.write(chunk)
    except RefusalError:
        raise
    except Exception as error:  # zipfile raises many types, zlib.error and NotImplementedError among them
        raise RefusalError(BAD, "The zip cannot be unpacked; it is damaged, cut off, or compressed in an unusual way."
                      ) from error


def _check_entry(entry):
    parts = entry.filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise RefusalError(BAD, "The zip has an entry whose path leads out of it; pack the scan again.")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusalError(BAD, "The zip has an entry that is a link or a device, no file; pack the scan again.")
    if entry.flag_bits & 1:
        raise RefusalError(BAD, "The zip is encrypted; upload it without a password.")


def _is_hidden(name):
    return any(part.startswith(".") or part == "__MACOSX" for part in name.replace("\\", "/").split("/"))


def _check_directory(archive, size):
    """Checks the size of the list of entries, all of which zipfile would hold in memory.

    Every record that may be the one that zipfile takes is looked at.
    """
    with open(archive, "rb") as stream:
        stream.seek(max(0, size - LONGEST_END))
        tail = stream.read()
        sizes = [int.from_bytes(tail[at + 12:at + 16], "little") % 0xFFFFFFFF for at in _places(tail, END)]
        sizes += [int.from_bytes(tail[at + 40:at + 48], "little") for at in _places(tail, END_64)]
        for at in _places(tail, LOCATOR):
            stream.seek(min(size, int.from_bytes(tail[at + 8:at + 16], "little")))
            sizes.append(int.from_bytes(stream.read(48)[40:], "little"))
    if max(sizes, default=0) > MOST_DIRECTORY_BYTES:
        raise RefusalError(TOO_LARGE, f"The zip has more than {MOST_FILES} entries; upload one scan.")


def _places(data, mark):
    return [found.start() for found in re.finditer(re.escape(mark), data)]
