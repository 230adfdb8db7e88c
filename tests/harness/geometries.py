"""Geometries of a scan in its file: the 48 axis orders, and oblique planes."""

import itertools

import numpy as np
from nibabel import orientations

CODES = ["".join(codes) for axes in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*axes)]
STEPS_MM = (1.25, 3.0, 0.75)  # along the file's axes, all different, exact in float32


def affine_of(codes, steps_mm=STEPS_MM, tilt=None, origin=(12.5, -40.0, 300.0)):
    """Returns the affine of a file whose axes point toward the given codes, optionally rotated by a 3x3 `tilt`."""
    affine = np.eye(4)
    world = ["LR", "PA", "IS"]
    for axis, (code, step) in enumerate(zip(codes, steps_mm, strict=True)):
        row = next(index for index, ends in enumerate(world) if code in ends)
        affine[:3, axis] = 0
        affine[row, axis] = step if code == world[row][1] else -step
    if tilt is not None:
        affine[:3, :3] = tilt @ affine[:3, :3]
    affine[:3, 3] = origin
    return affine


def tilted(degrees=(12, -17, 8)):
    """Returns a rotation by less than 45 degrees, so that each axis keeps its code."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def by_hand(array, codes):
    """Returns a file's array with its axes turned to I, P, L one by one, without nibabel."""
    order = [next(axis for axis, code in enumerate(codes) if code in ends) for ends in ("IS", "PA", "LR")]
    turned = np.transpose(array, order)
    for axis, wanted in enumerate("IPL"):
        if codes[order[axis]] != wanted:
            turned = np.flip(turned, axis)
    return turned


def world_of(affine, index):
    """Returns the world position of a voxel, in mm."""
    return (affine @ [*index, 1])[:3]


assert len(CODES) == 48
assert orientations.aff2axcodes(affine_of("ASR", tilt=tilted())) == tuple("ASR")
