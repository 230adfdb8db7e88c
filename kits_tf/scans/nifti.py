"""Reads and writes NIfTI. Only this file depends on a NIfTI file's axis order and header.

A scan of any orientation and spacing is read as a Volume in the canonical orientation (volume.py). Labels are written
with the geometry of the scan's file: same axis order, shape, affine, and qform and sform codes.

Headers are not trusted: claims that the file's size cannot hold are rejected, headers are parsed from a bounded number
of bytes, and voxels are read a few slices at a time into the array that is returned.
"""

import dataclasses
import io
import logging
import math
import pathlib
import typing
import warnings
from collections.abc import Collection, Mapping
from types import MappingProxyType

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib

from kits_tf.errors import InputError, one_line
from kits_tf.files.atomic import whole_file
from kits_tf.scans.discovery import ENDINGS
from kits_tf.scans.limits import check_extent, check_spacing, check_voxels, is_bomb, times
from kits_tf.scans.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.scans.voxels import hounsfield, label_values
from kits_tf.scans.warnings import skew_warnings
from kits_tf.volume import Volume, is_singular, spacing_of

# nibabel also logs or warns of the errors it finds in a header; our InputError reports them once, in one line.
nib.imageglobals.logger.setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"nibabel\.nifti1")

PAIRS = (".hdr", ".img", ".hdr.gz", ".img.gz")  # a header and its voxels in two files
EXPECTED = "expected NIfTI (.nii or .nii.gz)"

MOST_HEADER_BYTES = 2**24  # including extensions
MOST_BYTES_AFTER = 2**20  # allowed after the voxels
DEFLATE_RATIO = 1032  # largest compression ratio of gzip
SLAB_VOXELS = 2**22  # voxels read at a time
SAME_FORMS_MM = 0.1  # allowed distance between qform and sform: quaternions are rounded
UNITS = {1: "meters", 3: "micrometers"}


@dataclasses.dataclass(frozen=True, eq=False)
class _Source:
    """A file whose header was read and is valid.

    Attributes:
        path: as the user gave it.
        image: nibabel's image, for its header and affine; _slabs reads the voxels.
        voxels: the file that contains the voxels; for a pair not the header's file.
        shape: three dimensions, in the file's axis order.
        affine: 4x4, of the canonical axes.
        transform: nibabel orientation transform from the file's axes to the canonical axes.
    """

    path: pathlib.Path
    image: nib.Nifti1Pair
    voxels: pathlib.Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    transform: np.ndarray


def _stream(path):
    return igzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")


def _open(path):
    """Reads a file's header; returns a _Source or raises InputError."""
    path = pathlib.Path(path)
    try:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path}: is a dangling symbolic link, {EXPECTED}")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder, {EXPECTED}")
        if not path.is_file():  # reading from a pipe would block
            raise InputError(f"{path}: is no regular file, {EXPECTED}")
        image, raw_header, voxels = _header(path)
        shape = _spatial_shape(path, image)
        _check_size(path, shape, image.get_data_dtype().itemsize, image.dataobj.offset, voxels)
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError,
            OSError, EOFError, isal_zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as NIfTI ({one_line(error)}), {EXPECTED}") from error
    return _Source(path, image, voxels, shape, *_geometry(path, image, raw_header, shape))


def pair_of(path: str | pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the header and voxel files of a two-file scan, given either of them; an empty tuple for one file."""
    if not str(path).lower().endswith(PAIRS):
        return ()
    files = nib.Nifti1Pair.filespec_to_file_map(str(path))
    return tuple(pathlib.Path(str(files[role].filename)) for role in ("header", "image"))


def _header(path):
    """Returns (nibabel image, its header as stored, file with the voxels)."""
    name = path.name.lower()
    if name.endswith(ENDINGS):
        kinds = (nib.Nifti1Image, nib.Nifti2Image)
    elif name.endswith(PAIRS):
        kinds = (nib.Nifti1Pair, nib.Nifti2Pair)
    else:
        raise InputError(f"{path}: cannot be read: its name is not that of a NIfTI file, {EXPECTED}")
    files = {role: pathlib.Path(file.filename) for role, file in kinds[0].filespec_to_file_map(str(path)).items()}
    with _stream(files.get("header", files["image"])) as stream:
        start = stream.read(1024)
        kind = next((kind for kind in kinds if kind.header_class.may_contain_header(start)), None)
        if kind is None:
            why = "it is compressed by gzip: name it .nii.gz" if start[:2] == b"\x1f\x8b" else "it has no such header"
            raise InputError(f"{path}: cannot be read as NIfTI ({why}), {EXPECTED}")
        size = kind.header_class.sizeof_hdr
        raw_header = kind.header_class(start[:size], check=False)
        # Read no more than a header may have: an extension can claim any length, and gzip can deliver it.
        end = float(raw_header["vox_offset"]) if len(files) == 1 else MOST_HEADER_BYTES
        if not 0 <= end <= MOST_HEADER_BYTES:
            raise InputError(f"{path}: its header claims that voxels begin at byte {end:g}; is it damaged?")
        start += stream.read(max(0, int(end) - len(start)))
    # nibabel gets only the header's bytes. It reads voxels on access, and nothing here accesses them.
    holders = {role: nib.FileHolder(fileobj=io.BytesIO(start)) for role in files}
    return kind.from_file_map(holders), raw_header, files["image"]


def _geometry(path, image, raw_header, shape):
    """Returns (canonical affine, orientation transform) or raises InputError."""
    affine = image.affine
    if affine is None or not np.isfinite(affine).all():
        raise InputError(f"{path}: its affine is not finite, expected voxel positions in mm")
    if is_singular(affine):
        raise InputError(f"{path}: its affine is singular {affine[:3, :3].tolist()}, expected three separate axes")
    # Check the stored spacing too: nibabel replaces zero by 1 mm and a negative number by its absolute value.
    check_spacing(path, [float(mm) for mm in raw_header["pixdim"][1:4]])
    check_extent(path, shape, spacing_of(affine))
    transform = to_canonical_transform(affine)
    return reorient_affine(affine, transform, shape), transform


def _spatial_shape(path, image):
    """Returns the file's three dimensions, without trailing axes of size 1. Raises InputError for other shapes."""
    shape = tuple(int(size) for size in image.shape)
    if len(shape) > 3 and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path}: has shape {image.shape}, expected one 3D volume")
    return shape


def _canonical_shape(source):
    shape = np.empty(3, int)
    shape[source.transform[:, 0].astype(int)] = source.shape
    return tuple(int(size) for size in shape)


def _check_size(path, shape, itemsize, offset, file):
    """Checks that the file is large enough for the voxels that its header claims, before memory is allocated."""
    claimed, size = math.prod(shape) * itemsize, file.stat().st_size
    if offset + claimed > size * (DEFLATE_RATIO if file.name.lower().endswith(".gz") else 1):
        raise InputError(f"{path}: its voxels cannot be read (its header claims {claimed} bytes of them, the file has "
                         f"{size}); is the file whole?")
    check_voxels(path, shape)


def _slabs(source, stored, after):
    """Reads the voxels, a few slices of the file's last axis at a time.

    Args:
        source: _Source.
        stored: dtype of the voxels in the file.
        after: list to which the number of bytes after the voxels is appended at the end.

    Yields:
        (index of the block, block): the block is float64 with slope and intercept applied, or as stored without them.
    """
    plane, slices = math.prod(source.shape[:2]), source.shape[2]
    slope, inter = source.image.dataobj.slope, source.image.dataobj.inter
    step = max(1, SLAB_VOXELS // plane)
    with _stream(source.voxels) as stream:
        stream.seek(source.image.dataobj.offset)
        for first in range(0, slices, step):
            count = min(step, slices - first)
            data = stream.read(count * plane * stored.itemsize)
            if len(data) < count * plane * stored.itemsize:
                raise EOFError(f"they end in slice {first + len(data) // (plane * stored.itemsize)} of {slices}")
            block = np.frombuffer(data, stored).reshape((*source.shape[:2], count), order="F")
            if (slope, inter) != (1, 0):
                block = block.astype(np.float64) * slope + inter
            yield np.s_[..., first:first + count], block
        after.append(len(stream.read(MOST_BYTES_AFTER + 1)))  # reads to the end, where gzip checks its checksum


def _read(path, take, dtype):
    """Reads a file's voxels.

    Args:
        path: the file.
        take: function of (path, block) that converts a block of voxels or raises InputError.
        dtype: initial dtype of the array; it becomes float32 at the first block that does not fit it.

    Returns:
        (array in canonical axes, _Source, warnings).
    """
    source = _open(path)
    stored = source.image.get_data_dtype()
    if stored.kind not in "iuf":
        raise InputError(f"{path}: holds {stored} voxels, expected real numbers (Hounsfield units)")
    claimed, size, after = math.prod(source.shape) * stored.itemsize, source.voxels.stat().st_size, []
    if dtype == np.int16 and is_bomb(claimed, size):
        raise InputError(f"{path}: unpacks to {claimed / size:.0f} times its size, as no scan does; is it a gzip bomb?")
    try:
        back = invert(source.transform)
        voxels = np.empty(_canonical_shape(source), dtype)
        for place, block in _slabs(source, stored, after):
            block = take(path, block)
            if not np.can_cast(block.dtype, voxels.dtype):
                voxels = voxels.astype(np.float32)
            reorient(voxels, back)[place] = block
    except (OSError, EOFError, isal_zlib.error, ValueError, MemoryError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its voxels cannot be read ({one_line(error)}); is the file whole?") from error
    if after[0] > MOST_BYTES_AFTER:
        raise InputError(f"{path}: has more than the {times(source.shape)} voxels that its header claims; header and "
                         f"voxels do not belong together")
    warned = [f"{after[0]} bytes follow the voxels and were ignored."] if after[0] else []
    return voxels, source, [*_header_warnings(source), *warned]


def _header_warnings(source):
    """Returns warnings about a usable header, one sentence each."""
    header, warned = source.image.header, skew_warnings(source.affine)
    unit = int(header["xyzt_units"]) & 7
    if unit in UNITS:
        warned.append(f"The header says that its spacing is in {UNITS[unit]}; it was read as millimeters.")
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    if qform == sform == 0:
        warned.append("The header does not say how the scan lies in the patient (qform and sform codes are 0); an "
                      "orientation was assumed.")
    elif qform and sform:
        try:
            by_qform = header.get_qform()
        except ValueError:
            return [*warned, "The header's qform is invalid; its sform was used."]
        corners = np.array(np.meshgrid(*((-0.5, size - 0.5) for size in source.shape), [1])).reshape(4, -1)
        apart_mm = np.linalg.norm((by_qform - source.image.affine) @ corners, axis=0).max()
        if not apart_mm <= SAME_FORMS_MM:
            warned.append(f"The header's qform and sform disagree by up to {apart_mm:.1f} mm; the sform was used.")
    return warned


def read_stored_geometry(path: str | pathlib.Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Reads only a file's header: (shape, affine) in the file's own axis order, to compare files voxel by voxel.

    Raises:
        InputError: as read_volume, for errors that the header shows.
    """
    source = _open(path)
    return source.shape, source.image.affine


def read_volume(path: str | pathlib.Path) -> Volume:
    """Reads a scan.

    Returns:
        A Volume in the canonical orientation, with scl_slope and scl_inter applied: int16 if all voxels are whole
        numbers that fit, else float32. Its `warnings` are about the header and about bytes after the voxels.

    Raises:
        InputError: if the file is missing, damaged, or no NIfTI; if it is not one 3D volume of real numbers, or has
            NaN or infinite voxels; if it claims more voxels than it can contain or than a scan has (limits.py); or if
            its affine or spacing is invalid.
    """
    voxels, source, warned = _read(path, hounsfield, np.int16)
    return Volume(voxels, spacing_of(source.affine), source.affine, tuple(warned))


def read_labels(path: str | pathlib.Path, values: Collection[int] = range(3),
                remedies: Mapping[int, str] = MappingProxyType({})) -> Volume:
    """Reads a label volume: a Volume of uint8 values in the canonical orientation.

    Raises:
        InputError: as read_volume, and as voxels.label_values, if a voxel is not one of `values`.
    """
    def take(path, block):
        return label_values(path, block, values, remedies)

    voxels, source, warned = _read(path, take, np.uint8)
    return Volume(voxels, spacing_of(source.affine), source.affine, tuple(warned))


def write_labels(path: str | pathlib.Path, labels: np.ndarray, like: str | pathlib.Path) -> None:
    """Writes labels with the geometry of the scan's file, atomically.

    Args:
        path: file to write, .nii.gz or .nii.
        labels: uint8 array (z, y, x) in the canonical orientation.
        like: path of the scan; the output has its axis order, affine, and qform and sform codes.

    Raises:
        ValueError: if the labels do not have the scan's shape, or the path has another ending.
        InputError: as read_stored_geometry, for the scan.
    """
    source = _open(like)
    voxels = reorient(np.asarray(labels, np.uint8), invert(source.transform))
    if voxels.shape != source.shape:
        raise ValueError(f"labels must have the shape of {like}, {source.shape}, got {voxels.shape}")
    image = source.image
    header = _of_labels(image.header)
    image_class = type(image) if isinstance(image, nib.Nifti1Image) else nib.Nifti1Image  # a pair is saved as one
    _save(image_class, voxels.reshape(image.shape), image.affine, header, path)


def from_image(image: typing.Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns (array (i, j, k), affine) of a nibabel image with its scale applied, or None if it is none."""
    if not isinstance(image, nib.spatialimages.SpatialImage) or image.affine is None:
        return None
    return np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64)


def image_like(image: typing.Any, labels: np.ndarray) -> nib.Nifti1Image:
    """Returns labels (i, j, k) as NIfTI with the geometry of a nibabel image, and with its header if that is NIfTI."""
    kind = type(image) if type(image) in (nib.Nifti1Image, nib.Nifti2Image) else nib.Nifti1Image
    return kind(labels, image.affine, _of_labels(image.header) if isinstance(image, nib.Nifti1Pair) else None)


def _of_labels(header):
    """Returns a copy of a scan's header for its labels."""
    header = header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    return header


def write_volume(path: str | pathlib.Path, volume: Volume) -> None:
    """Writes a Volume as NIfTI with axes (z, y, x), as KiTS19's files have them; atomically."""
    header = nib.Nifti1Header()
    header.set_data_dtype(volume.voxels.dtype)
    header.set_xyzt_units("mm")
    _save(nib.Nifti1Image, volume.voxels, volume.affine, header, path)


def compressed(volume: Volume, slope: float = 1.0) -> bytes:
    """Returns the contents of a .nii.gz file, quickly rather than tightly compressed, for a web page to embed.

    Its axes are (x, y, z), so that the voxels of a row lie side by side: it takes less space than with axes (z, y, x).

    Args:
        volume: Volume; its voxels may be in steps.
        slope: size of a step: readers multiply the voxels by it.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(volume.voxels.dtype)
    header.set_data_shape(volume.voxels.shape[::-1])
    header.set_xyzt_units("mm")
    affine = volume.affine[:, [2, 1, 0, 3]]
    header.set_sform(affine, "scanner")
    header.set_qform(affine, "scanner")
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, 0, header.sizeof_hdr + 4
    no_extensions = bytes(4)
    return igzip.compress(header.binaryblock + no_extensions + volume.voxels.tobytes(), 3, mtime=0)


def _save(image_class, voxels, affine, header, path):
    path = pathlib.Path(path)
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: must end in .nii or .nii.gz")
    with whole_file(path) as temporary:
        nib.save(image_class(voxels, affine, header), temporary)
