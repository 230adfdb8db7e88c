"""Simulates CT slices that were stored as 8-bit pictures, whose gray values are HU clipped to 0..255.

The tumor slices come from such pictures. Pixels at or below 0 HU were filled with -100 HU inside the body and -1000 HU
outside; pixels above 255 HU read 255. Applying the same to phantoms measures the effect on the nets' scores.
"""

import numpy as np
from scipy import ndimage

INSIDE_HU, OUTSIDE_HU = -100, -1000
LARGEST_HU = 255
CLOSED_MM = 15.0  # gaps in the visible tissue that count as body, such as fat between muscles


def clip(hu: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Clips slices as their 8-bit pictures do, and returns them in HU.

    Args:
        hu: integers (z, y, x).
        pixel_mm: pixel size.

    Returns:
        int16, same shape. HU from 1 to 255 are unchanged; larger ones become 255; smaller ones become -100 inside the
        body and -1000 outside.
    """
    seen = hu > 0
    inside = np.stack([body(plane, pixel_mm) for plane in seen])
    filled = np.where(inside, INSIDE_HU, OUTSIDE_HU)
    return np.where(seen, np.minimum(hu, LARGEST_HU), filled).astype(np.int16)


def body(seen: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Finds the body in a plane from the pixels above 0 HU: closes gaps, fills holes, keeps the largest component."""
    margin = max(1, round(CLOSED_MM / pixel_mm))
    closed = ndimage.binary_closing(np.pad(seen, margin), iterations=margin)[margin:-margin, margin:-margin]
    numbered, count = ndimage.label(ndimage.binary_fill_holes(closed))
    if not count:
        return np.zeros_like(seen)
    return numbered == 1 + np.bincount(numbered.ravel())[1:].argmax()
