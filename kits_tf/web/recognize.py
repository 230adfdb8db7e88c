"""Finds the one scan in an upload: a NIfTI file, or a DICOM series, packed in a zip or not."""

import dataclasses
import pathlib
import zlib

from kits_tf.errors import few
from kits_tf.scans.dicom_files import Series, find_series
from kits_tf.scans.discovery import looks_like_dicom
from kits_tf.web.errors import BAD, RefusalError
from kits_tf.web.unpack import is_zip, unpack
from kits_tf.web.upload import Upload

GZIP = b"\x1f\x8b"
HEAD_BYTES = 2**12
NIFTI_SIZES = (348, 540)  # of a header, its first number; NIfTI-1 (and Analyze) and NIfTI-2
EXPECTED = "expected a NIfTI (.nii or .nii.gz), a zip, or the files of one DICOM series"


@dataclasses.dataclass(frozen=True)
class Found:
    """The scan of an upload.

    Attributes:
        kind: "NIfTI" or "DICOM".
        imaging: path of the file, or of the series' folder, below the upload's folder; "" is that folder itself.
        files: paths of a series' files below the upload's folder.
        title: what the user calls it, to be shown; not for a path.
        notes: sentences on what was left out.
    """

    kind: str
    imaging: str
    files: tuple[str, ...]
    title: str
    notes: tuple[str, ...] = ()


def recognize(upload: Upload) -> Found:
    """Finds the scan of an upload; unpacks a zip and removes it.

    Raises:
        RefusalError: if there is none, or several. For several CT series its `choices` has a dict with `series` (the
            UID) and `text` of each.
    """
    top = _top_folder(upload)
    if len(upload.names) == 1 and is_zip(only := upload.folder / next(iter(upload.names))):
        packed = only.rename(only.with_name("zip"))
        (top,) = upload.names.values()
        upload.names.clear()
        unpack(packed, upload)
        packed.unlink()
    niftis = _name_niftis(upload)
    if len(niftis) > 1:
        raise RefusalError(BAD, f"The upload has {len(niftis)} NIfTI files; upload one scan at a time.")
    series = _series(upload)
    if niftis and any(one.is_scan for one in series):
        raise RefusalError(BAD, "The upload has both a NIfTI file and a DICOM series; upload one scan at a time.")
    if niftis:
        return Found("NIfTI", niftis[0], (), upload.names[niftis[0]])
    return _one_series(upload, series, top)


def _top_folder(upload):
    """Returns the user's name of the folder that was uploaded, or ""."""
    return next((above.strip("/").split("/")[0] for above in upload.folders if above), "")


def _name_niftis(upload):
    """Gives NIfTI files, recognized by their content, the ending that readers expect; returns their paths."""
    found = []
    for name, given in list(upload.names.items()):
        with open(upload.folder / name, "rb") as stream:
            head = stream.read(HEAD_BYTES)
        packed = head.startswith(GZIP)
        if _begins_like_nifti(_unpacked(head) if packed else head):
            renamed = f"{name}.nii.gz" if packed else f"{name}.nii"
            (upload.folder / name).rename(upload.folder / renamed)
            del upload.names[name]
            upload.names[renamed] = given
            found.append(renamed)
    return found


def _unpacked(head):
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _begins_like_nifti(head):
    return any(int.from_bytes(head[:4], order) in NIFTI_SIZES for order in ("little", "big"))


def _series(upload: Upload) -> list[Series]:
    """Returns the DICOM series of an upload, scans or not."""
    by_folder: dict[pathlib.Path, list[pathlib.Path]] = {}
    for name in upload.names:
        path = upload.folder / name
        if not path.suffix:
            by_folder.setdefault(path.parent, []).append(path)
    # A folder without any DICOM file is that of a viewer or the like.
    holding = [(folder, files) for folder, files in by_folder.items() if any(map(looks_like_dicom, files))]
    return find_series(holding, upload.folder)


def _one_series(upload, series, title):
    """Returns the CT series, called `title`; without one, by what its headers say."""
    scans = [one for one in series if one.is_scan]
    others = few([_without_folder(one.text) for one in series if not one.is_scan])
    if not scans:
        raise RefusalError(BAD, f"The upload has no CT scan, only {others}." if others else
                      f"The upload has no scan that can be read; {EXPECTED}.")
    chosen = [one for one in scans if one.uid == upload.series] if upload.series else scans
    if len(chosen) != 1:
        texts = [_without_folder(one.text) for one in scans]
        choices = [{"series": one.uid, "text": text} for one, text in zip(scans, texts, strict=True)]
        raise RefusalError(BAD, f"The upload has {len(scans)} CT series ({few(texts)}); upload one of them, or name "
                                f"its UID in the field series.", choices=choices)
    one = chosen[0]
    left_out = [f"{len(scans) - 1} other CT series"] * (len(scans) > 1) + [others] * bool(others)
    notes = (f"Beside the scan, the upload had {' and '.join(left_out)}, left out.",) if left_out else ()
    return Found("DICOM", _below(upload, one.folder), tuple(_below(upload, file) for file in one.files),
                 title or _without_folder(one.text), notes)


def _without_folder(text):
    """Returns a series' text without our name of its folder."""
    return text.partition(" in folder-")[0]


def _below(upload, path):
    return "" if path == upload.folder else path.relative_to(upload.folder).as_posix()
