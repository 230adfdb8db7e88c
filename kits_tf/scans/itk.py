"""Reads and writes NRRD and MetaImage, the formats of 3D Slicer and ITK-SNAP, by SimpleITK.

SimpleITK is not installed with the package: without it, a file of these formats is refused in a line that names it. As
for NIfTI (nifti.py), a scan becomes a Volume in the canonical orientation, labels are written in the scan's own
geometry, and headers are not trusted.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import typing
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from kits_tf import lazy
from kits_tf.errors import InputError
from kits_tf.files.atomic import cannot_write, whole_file
from kits_tf.quiet import stderr_to
from kits_tf.scans.discovery import ITK
from kits_tf.scans.limits import check_extent, check_voxels, is_bomb
from kits_tf.scans.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.scans.voxels import hounsfield, label_values
from kits_tf.scans.warnings import skew_warnings
from kits_tf.volume import Volume, is_singular, spacing_of

INSTALL = 'pip install "SimpleITK>=2.3,<3"'
READERS = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
WRITTEN = {".nrrd": ".nrrd", ".nhdr": ".nrrd", ".mha": ".mha", ".mhd": ".mha"}  # labels are one file
HEADER_BYTES = 2**16
DATA_FILE = re.compile(rb"^(?:data ?file:|ElementDataFile *=)[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
ORIENTED = re.compile(rb"^(?:space:|space dimension:|TransformMatrix *=|Orientation *=|Rotation *=)",
                      re.IGNORECASE | re.MULTILINE)
SPACED = re.compile(rb"^(?:spacings:|space directions:|Element(?:Spacing|Size) *=)", re.IGNORECASE | re.MULTILINE)
UNSPACED = re.compile(rb"^(?:spacings|space directions):.*\b(?:none|nan)\b", re.IGNORECASE | re.MULTILINE)
SCALED = re.compile(rb"^ElementToIntensityFunction(?:Slope *=(?! *1\.?0*\s*$)|Offset *=(?! *0\.?0*\s*$))",
                    re.IGNORECASE | re.MULTILINE)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclasses.dataclass(frozen=True, eq=False)
class _Source:
    """A file whose header was read and is valid.

    Attributes:
        path: as the user gave it.
        reader: SimpleITK's reader, which has read the header and leaves out trailing axes of size 1.
        shape: three dimensions, in the file's axis order (i, j, k).
        stored: 4x4, maps (i, j, k, 1) to world coordinates in mm, RAS+.
        warnings: warnings about the header.
    """

    path: pathlib.Path
    reader: typing.Any
    shape: tuple[int, int, int]
    stored: np.ndarray
    warnings: tuple[str, ...]


def is_itk(path: str | pathlib.Path) -> bool:
    """Returns whether a file has the name of one of these formats."""
    return str(path).lower().endswith(ITK)


def parts_of(path: str | pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the header and voxel files of a scan whose header names another file; an empty tuple for one file.

    Raises:
        InputError: if the header names several files, or one in another folder, which could be anybody's.
    """
    path = pathlib.Path(path)
    found = DATA_FILE.search(_header(path))
    name = found[1].decode("utf-8", errors="replace") if found else "LOCAL"
    if name == "LOCAL":
        return ()
    if name.startswith("./"):
        name = name[2:]
    if not name or name.split()[0] == "LIST" or "%" in name or "/" in name or "\\" in name:
        raise InputError(f"{path}: keeps its voxels in {name!r}, expected one file beside it; save it as one file")
    return path, path.parent / name


def _header(path):
    """Returns the text of a header, at most HEADER_BYTES; empty if the file cannot be read."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(HEADER_BYTES)
    except OSError:
        return b""
    local = re.search(rb"^ElementDataFile *= *LOCAL.*$|^\r?\n", start, re.MULTILINE)
    return start[:local.end()] if local else start


def _itk(path):
    try:
        return lazy.load("SimpleITK")
    except ImportError as error:
        raise InputError(f"{path}: NRRD and MetaImage are read and written by SimpleITK, which is not installed: "
                         f"{INSTALL}") from error


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Drops what ITK prints to stderr; its exceptions are reported in one line."""
    with lazy.importing, open(os.devnull, "wb") as nowhere, stderr_to(nowhere):
        yield


def _why(error):
    """Returns the last sentence of SimpleITK's message, which begins with places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^.*?(?:ITK )?ERROR: (?:\w+\([^)]*\): )?", "", lines[-1])[:200] if lines else type(error).__name__


def _open(path):
    """Reads a file's header; returns a _Source or raises InputError."""
    path = pathlib.Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}, expected NRRD or MetaImage")
    files = parts_of(path) or (path,)
    for file in files:
        if not file.is_file():
            raise InputError(f"{path}: its voxels are in {file.name}, which is missing")
    itk = _itk(path)
    reader = itk.ImageFileReader()
    reader.SetImageIO(READERS[path.suffix.lower()])
    reader.SetFileName(str(path))
    try:
        with _silenced():
            reader.ReadImageInformation()
        sizes = tuple(int(length) for length in reader.GetSize())
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as {READERS[path.suffix.lower()][:4]} ({_why(error)})") from error
    size = sizes[:3] if set(sizes[3:]) <= {1} else sizes
    if reader.GetNumberOfComponents() != 1 or len(size) != 3:
        shape = (*size, reader.GetNumberOfComponents()) if reader.GetNumberOfComponents() != 1 else size
        raise InputError(f"{path}: has shape {shape}, expected one 3D volume with one number per voxel")
    reader.SetExtractSize([*size, *[0] * (len(sizes) - 3)])
    header = _header(path)
    if not SPACED.search(header) or UNSPACED.search(header):
        raise InputError(f"{path}: its header does not give the voxel spacing of all axes; save it with its spacing")
    if SCALED.search(header):  # which ITK ignores
        raise InputError(f"{path}: its header scales the values by ElementToIntensityFunction; save it with the values "
                         f"themselves")
    stored = _affine(reader)
    if not np.isfinite(stored).all() or is_singular(stored):
        raise InputError(f"{path}: its axes are singular or not finite, expected three separate axes in mm")
    check_voxels(path, size)
    check_extent(path, size, reader.GetSpacing()[:3])
    claimed, kept = math.prod(size), sum(file.stat().st_size for file in files)
    if is_bomb(claimed, kept):
        raise InputError(f"{path}: unpacks to more than {claimed / kept:.0f} times its size, as no scan does")
    warnings = skew_warnings(stored)
    if not ORIENTED.search(header):
        warnings.append("The header does not say how the scan lies in the patient; an orientation was assumed.")
    return _Source(path, reader, size, stored, tuple(warnings))


def _direction(image):
    """Returns the direction cosines of the first three axes, in columns."""
    axes = len(image.GetSpacing())
    return np.reshape(image.GetDirection(), (axes, axes))[:3, :3]


def _affine(image):
    """Returns the affine (i, j, k) to RAS+ of a SimpleITK image, or of a reader that has read a header."""
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ _direction(image) * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = LPS_TO_RAS @ np.array(image.GetOrigin()[:3])
    return affine


def from_image(image: typing.Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns (array (i, j, k), affine) of a SimpleITK image, as nibabel has them.

    Raises:
        InputError: if it is not one 3D volume with one number per voxel.
    """
    components = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or components != 1:
        shape = (*image.GetSize(), *([components] if components != 1 else []))
        raise InputError(f"image: has shape {shape}, expected one 3D volume")
    return lazy.load("SimpleITK").GetArrayFromImage(image).T, _affine(image)


def image_like(image: typing.Any, labels: np.ndarray) -> typing.Any:
    """Returns labels (i, j, k) as a SimpleITK image with the geometry of another one."""
    made = lazy.load("SimpleITK").GetImageFromArray(np.ascontiguousarray(labels.T))
    made.CopyInformation(image)
    return made


def _read(path, take, dtype):
    """Reads a file's voxels by `take`, a function of (path, block), as nifti.py does; returns a Volume."""
    source = _open(path)
    itk = _itk(path)
    try:
        with _silenced():
            image = source.reader.Execute()
        stored = itk.GetArrayViewFromImage(image)  # (k, j, i)
    except RuntimeError as error:
        raise InputError(f"{path}: its voxels cannot be read ({_why(error)}); is the file whole?") from error
    if stored.dtype.kind not in "iuf":
        raise InputError(f"{path}: holds {stored.dtype} voxels, expected real numbers (Hounsfield units)")
    transform = to_canonical_transform(source.stored)
    shape = np.empty(3, int)
    shape[transform[:, 0].astype(int)] = source.shape
    voxels = np.empty(shape, dtype)
    for k, plane in enumerate(stored):
        block = take(path, plane.T)
        if not np.can_cast(block.dtype, voxels.dtype):
            voxels = voxels.astype(np.float32)
        reorient(voxels, invert(transform))[:, :, k] = block
    affine = reorient_affine(source.stored, transform, source.shape)
    return Volume(voxels, spacing_of(affine), affine, source.warnings)


def read_volume(path: str | pathlib.Path) -> Volume:
    """Reads a scan as nifti.read_volume does.

    Raises:
        InputError: if SimpleITK is not installed; if the file is missing, damaged or of another format; if it is not
            one 3D volume of finite real numbers; or if it exceeds a limit of limits.py.
    """
    return _read(path, hounsfield, np.int16)


def read_labels(path: str | pathlib.Path, values: Collection[int] = range(3),
                remedies: Mapping[int, str] = MappingProxyType({})) -> Volume:
    """Reads labels as nifti.read_labels does.

    Raises:
        InputError: as read_volume, and if a voxel is not one of `values`.
    """
    return _read(path, lambda path, block: label_values(path, block, values, remedies), np.uint8)


def read_stored_geometry(path: str | pathlib.Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Reads (shape, affine) in the file's own axis order (i, j, k), as nibabel has them.

    Raises:
        InputError: as read_volume, for errors that the header shows.
    """
    source = _open(path)
    return source.shape, source.stored


def write_labels(path: str | pathlib.Path, labels: np.ndarray, like: str | pathlib.Path) -> None:
    """Writes labels with the very geometry of a scan in one of these formats, atomically.

    Args:
        path: the .nrrd or .mha file to write.
        labels: uint8 array (z, y, x) in the canonical orientation.
        like: path of the scan.

    Raises:
        InputError: as read_stored_geometry.
    """
    source = _open(like)
    reader = source.reader
    _write(path, reorient(np.asarray(labels, np.uint8), invert(to_canonical_transform(source.stored))),
           reader.GetSpacing()[:3], _direction(reader).ravel().tolist(), reader.GetOrigin()[:3])


def write_stored(path: str | pathlib.Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Writes an array (i, j, k) with its affine, as nibabel has them, atomically.

    Raises:
        InputError: if SimpleITK is not installed.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    _write(path, voxels, spacing.tolist(), (LPS_TO_RAS @ affine[:3, :3] / spacing).ravel().tolist(),
           (LPS_TO_RAS @ affine[:3, 3]).tolist())


def _write(path, voxels, spacing, direction, origin):
    itk = _itk(path)
    image = itk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    with whole_file(path) as temporary:
        try:
            itk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise cannot_write(path, _why(error)) from error
