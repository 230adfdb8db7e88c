"""NIfTI in, NIfTI out. The only file that knows a NIfTI file's axis order and header.

A scan of any orientation and spacing becomes a Volume in the canonical orientation (volume.py); labels go back into
the geometry of the file they were made from: same axis order, shape, affine, and qform and sform codes.
"""

import logging
import pathlib
import zlib

import nibabel as nib
import numpy as np

from kits_tf.io.files import whole_file
from kits_tf.ops.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.volume import InputError, Volume, is_singular, spacing_of

# What nibabel finds wrong in a header it also logs; an InputError says it once, in one line.
nib.imageglobals.logger.setLevel(logging.CRITICAL)

ENDINGS = (".nii.gz", ".nii")


def stem(path):
    """The file's name without its NIfTI ending, or without its last ending if it has none of those."""
    name = pathlib.Path(path).name
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return pathlib.Path(path).stem


def _open(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a NIfTI file (.nii or .nii.gz)")
    try:
        image = nib.load(path)
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError,
            OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({_one_line(error)}); expected .nii or .nii.gz") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise InputError(f"{path}: is {type(image).__name__}, expected NIfTI (.nii or .nii.gz)")
    return image


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _spatial_shape(path, image):
    """The file's three dimensions; a fourth of one frame is let go. Raises InputError for anything else."""
    shape = image.shape
    if len(shape) > 3 and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"{path}: has shape {image.shape}, expected one 3D volume")
    return shape


def _geometry(path, image):
    """(file shape, canonical affine, orientation transform), or InputError."""
    shape = _spatial_shape(path, image)
    affine = image.affine
    if affine is None or not np.isfinite(affine).all():
        raise InputError(f"{path}: its affine is not finite, expected voxel positions in mm")
    if is_singular(affine):
        raise InputError(f"{path}: its affine is singular {affine[:3, :3].tolist()}, expected three separate axes")
    for spacing_mm in (_stored_spacing(image), spacing_of(affine)):
        if not all(np.isfinite(mm) and mm > 0 for mm in spacing_mm):
            raise InputError(f"{path}: its voxel spacing is {list(spacing_mm)} mm, expected three positive numbers")
    transform = to_canonical_transform(affine)
    return shape, reorient_affine(affine, transform, shape), transform


def _stored_spacing(image):
    """The header's own spacing; nibabel has replaced a zero by 1 mm and a negative number by its size."""
    files = image.file_map
    with files.get("header", files["image"]).get_prepare_fileobj("rb") as stream:
        header = type(image.header).from_fileobj(stream, check=False)
    return [float(mm) for mm in header["pixdim"][1:4]]


def read_geometry(path):
    """Reads a file's header only.

    Returns:
        (shape, affine): shape and affine of the Volume that `read_volume` would return.

    Raises:
        InputError: as read_volume, for what a header can show.
    """
    shape, affine, transform = _geometry(path, _open(path))
    canonical_shape = np.empty(3, int)
    canonical_shape[transform[:, 0].astype(int)] = shape
    return tuple(int(size) for size in canonical_shape), affine


def _read(path):
    """(voxels as stored where integers are not scaled, else float32; canonical axes, affine)."""
    image = _open(path)
    shape, affine, transform = _geometry(path, image)
    stored = image.get_data_dtype()
    if stored.kind not in "iuf":
        raise InputError(f"{path}: holds {stored} voxels, expected real numbers (Hounsfield units)")
    try:
        unscaled = stored.kind in "iu" and image.dataobj.slope == 1 and image.dataobj.inter == 0
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused below
            voxels = np.asanyarray(image.dataobj) if unscaled else image.get_fdata("unchanged", np.float32)
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        raise InputError(f"{path}: its voxels cannot be read ({_one_line(error)}); is the file whole?") from error
    if voxels.dtype.kind == "f":
        bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
        if bad:
            raise InputError(f"{path}: {bad} voxels are NaN or infinite, expected finite numbers")
    return reorient(voxels.reshape(shape), transform), affine


def read_volume(path):
    """Reads a scan.

    Returns:
        A Volume in the canonical orientation: int16 where the file holds integers that fit it without scaling, else
        float32 with scl_slope and scl_inter applied.

    Raises:
        InputError: if the file is missing, damaged, no NIfTI, not one 3D volume, not real numbers, holds NaN or Inf,
            or its affine or spacing makes no sense.
    """
    voxels, affine = _read(path)
    if voxels.dtype.kind in "iu" and not np.can_cast(voxels.dtype, np.int16):
        limits = np.iinfo(np.int16)
        fits = limits.min <= int(voxels.min()) and int(voxels.max()) <= limits.max
        voxels = voxels.astype(np.int16 if fits else np.float32)
    elif voxels.dtype.kind in "iu":
        voxels = voxels.astype(np.int16, copy=False)  # native byte order
    return Volume.from_affine(np.ascontiguousarray(voxels), affine)


def read_labels(path, classes=3):
    """Reads a label volume: a Volume of uint8 class ids, canonical.

    Raises:
        InputError: as read_volume, and if a voxel is not one of the class ids 0 to classes - 1.
    """
    voxels, affine = _read(path)
    labels = voxels.astype(np.uint8)
    if not (np.array_equal(labels, voxels) and labels.max() < classes):
        wrong = next(value for value in np.unique(voxels).tolist() if value not in range(classes))
        raise InputError(f"{path}: holds label {wrong:g}, expected only {', '.join(map(str, range(classes)))}")
    return Volume.from_affine(np.ascontiguousarray(labels), affine)


def write_labels(path, labels, like):
    """Writes labels in the geometry of the file that the scan came from.

    Args:
        path: file to write; .nii.gz or .nii. Written to a temporary name and renamed: whole or absent.
        labels: uint8 array (z, y, x) in the canonical orientation.
        like: path of the scan; its axis order, affine, qform and sform codes are kept.
    """
    source = _open(like)
    shape, _, transform = _geometry(like, source)
    voxels = reorient(np.asarray(labels, np.uint8), invert(transform))
    if voxels.shape != shape:
        raise ValueError(f"labels must have the shape of {like}, {shape}, got {voxels.shape}")
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    image_class = type(source) if isinstance(source, nib.Nifti1Image) else nib.Nifti1Image  # a pair becomes one file
    _save(image_class, voxels.reshape(source.shape), source.affine, header, path)


def write_volume(path, volume):
    """Writes a Volume as NIfTI with axes (z, y, x), as KiTS19 stores its cases; whole or absent."""
    header = nib.Nifti1Header()
    header.set_data_dtype(volume.voxels.dtype)
    header.set_xyzt_units("mm")
    _save(nib.Nifti1Image, volume.voxels, volume.affine, header, path)


def _save(image_class, voxels, affine, header, path):
    path = pathlib.Path(path)
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: must end in .nii or .nii.gz")
    with whole_file(path) as temporary:
        nib.save(image_class(voxels, affine, header), temporary)
