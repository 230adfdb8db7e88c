"""Segments images that are in memory: kits_tf.segment(image).

Takes a nibabel image, a SimpleITK image or an array with its affine; returns labels of the same kind with the same
geometry. The image may have any orientation.
"""

import functools
import pathlib
import sys
import typing

import numpy as np

from kits_tf import lazy
from kits_tf.errors import InputError
from kits_tf.scans import itk, nifti
from kits_tf.scans.limits import check_extent, check_voxels
from kits_tf.scans.orientation import invert, reorient, reorient_affine, to_canonical_transform
from kits_tf.scans.voxels import hounsfield
from kits_tf.volume import Volume, is_singular, spacing_of

IMAGE = "image"  # what messages call it
EXPECTED = "expected a nibabel image, a SimpleITK image, or (array, affine)"


def segment(image: typing.Any, model: str | pathlib.Path | None = None) -> typing.Any:
    """Segments kidneys and tumors in a CT scan that is in memory.

    The model is loaded once per process. For files, predict.py also writes reports and overlays.

    Args:
        image: a nibabel image, a SimpleITK image, or a tuple of a NumPy array and its affine, 4x4 as in nibabel: it
            maps voxel indices to RAS+ world coordinates in mm. Voxels are Hounsfield units; axes are in any order.
        model: an export folder or one of its versions; None for the model that ships.

    Returns:
        Labels (0 background, 1 kidney, 2 tumor, uint8) of the kind of `image`, with its shape and geometry: a nibabel
        NIfTI image, a SimpleITK image, or a tuple of array and affine.

    Raises:
        InputError: if the image is not one 3D volume of finite real numbers, its affine is not valid, it exceeds a
            limit of scans/limits.py, or the model cannot be loaded.
        TypeError: if it is something else.
    """
    voxels, affine, wrap = _opened(image)
    shape = tuple(int(size) for size in voxels.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{IMAGE}: has shape {tuple(voxels.shape)}, expected one 3D volume")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or is_singular(affine):
        raise InputError(f"{IMAGE}: its affine is {affine.tolist()}, expected a finite 4x4 matrix, three separate axes")
    if voxels.dtype.kind not in "iuf":
        raise InputError(f"{IMAGE}: holds {voxels.dtype} voxels, expected real numbers (Hounsfield units)")
    check_voxels(IMAGE, shape)
    check_extent(IMAGE, shape, np.linalg.norm(affine[:3, :3], axis=0).tolist())
    transform = to_canonical_transform(affine)
    scan = np.ascontiguousarray(reorient(hounsfield(IMAGE, voxels.reshape(shape)), transform))
    canonical = reorient_affine(affine, transform, shape)
    labels = _predictor(model and str(model)).predict(Volume(scan, spacing_of(canonical), canonical)).voxels
    return wrap(np.ascontiguousarray(reorient(labels, invert(transform)).reshape(voxels.shape)))


def _opened(image):
    """Returns (array (i, j, k), its affine, function that makes labels of the image's kind from such an array)."""
    simple_itk = sys.modules.get("SimpleITK")
    if simple_itk and isinstance(image, simple_itk.Image):
        voxels, affine = itk.from_image(image)
        return voxels, affine, lambda labels: itk.image_like(image, labels)
    if isinstance(image, tuple) and len(image) == 2:
        voxels, affine = np.asarray(image[0]), np.asarray(image[1], np.float64)
        return voxels, affine, lambda labels: (labels, np.array(image[1]))
    found = nifti.from_image(image)
    if found is None:
        raise TypeError(f"{IMAGE} is a {type(image).__name__}; {EXPECTED}")
    return *found, lambda labels: nifti.image_like(image, labels)


@functools.lru_cache(maxsize=1)
def _predictor(model):
    return lazy.load("kits_tf.serving.predictor").Predictor(model)
