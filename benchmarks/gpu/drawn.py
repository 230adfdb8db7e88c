"""Random arrays that are equal on two machines, by number and shape. Needs only NumPy."""

import numpy as np


def drawn(number, shape):
    """Returns a float32 array. Number 0 is the image, with the standard normal distribution; the others are weights.

    Weights follow He's initialization, so that no layer's output vanishes.
    """
    values = np.random.default_rng(number).standard_normal(shape, np.float32)
    inputs = int(np.prod(shape[:-1])) if len(shape) > 1 else 100
    return values if number == 0 else values * np.float32((2.0 / inputs) ** 0.5)
