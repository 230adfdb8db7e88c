"""What 8-bit pictures leave of a CT slice: grey is HU clipped to 0..255.

The tumor slices come from such pictures. What was at or below 0 HU was filled with -100 inside the body and -1000
outside; above 255 HU reads 255. Doing the same to phantoms says what this costs a net.
"""

import numpy as np
from scipy import ndimage

INSIDE_HU, OUTSIDE_HU = -100, -1000
LARGEST_HU = 255
CLOSED_MM = 15.0  # gaps of the visible tissue that count as body, as fat between muscles


def clip(hu: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Slices as their 8-bit pictures show them, in HU again.

    Args:
        hu: integers (z, y, x).
        pixel_mm: pixel size.

    Returns:
        int16, same shape: HU from 1 to 255 stay; more become 255; less become -100 inside the body, -1000 outside.
    """
    seen = hu > 0
    inside = np.stack([body(plane, pixel_mm) for plane in seen])
    filled = np.where(inside, INSIDE_HU, OUTSIDE_HU)
    return np.where(seen, np.minimum(hu, LARGEST_HU), filled).astype(np.int16)


def body(seen: np.ndarray, pixel_mm: float) -> np.ndarray:
    """The body in a plane, from the pixels above 0 HU: the largest component of what they enclose, gaps closed."""
    margin = max(1, round(CLOSED_MM / pixel_mm))
    closed = ndimage.binary_closing(np.pad(seen, margin), iterations=margin)[margin:-margin, margin:-margin]
    numbered, count = ndimage.label(ndimage.binary_fill_holes(closed))
    if not count:
        return np.zeros_like(seen)
    return numbered == 1 + np.bincount(numbered.ravel())[1:].argmax()
