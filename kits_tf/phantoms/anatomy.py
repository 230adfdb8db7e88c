"""Draws a CT around kidneys and tumors from a KiTS19 label file: real shapes, synthetic intensities.

In: a label Volume. Out: a CT Volume with the same shape and position. The body surrounds the kidneys, with the spine
between them. Kidney voxels hold only kidney tissue, so the labels stay exact. These scans are hard by design: no
threshold finds the tumors (benchmarks/accuracy), because each simple cue of the easy phantoms is missing in some scans.
"""

import dataclasses
import pathlib

import numpy as np
from scipy import ndimage

from kits_tf import labels
from kits_tf.errors import InputError
from kits_tf.phantoms import surroundings, tissues
from kits_tf.phantoms.artifacts import scan_hard
from kits_tf.phantoms.drawing import Grid, blend
from kits_tf.phantoms.organs import draw_organs
from kits_tf.phantoms.parenchyma import kidney_tissue, tumor_tissue
from kits_tf.phantoms.surroundings import Piece
from kits_tf.phantoms.torso import Patient, draw_torso
from kits_tf.volume import Volume

KIDNEY_ML = 10.0  # smaller components are fragments
BESIDE_SPINE_MM = 66.0  # from the midline to the middle of a kidney
FUSED_MM = 150.0  # a component wider than this lies on both sides
SOFT_HU, SPREAD = 25.0, 0.13  # a tumor varies by this share of the enhancement over soft tissue
CROPPED = 0.25  # share of scans whose field of view cuts off the sides of the body


def find_anatomy(directory: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the label files of a folder in KiTS19's layout, sorted.

    Raises:
        InputError: if the folder does not exist or contains no label file.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; --anatomy expects a folder in KiTS19's layout")
    files = sorted(directory.glob("case_*/segmentation.nii.gz"))
    if not files:
        raise InputError(f"{directory}: contains no case_*/segmentation.nii.gz; --anatomy expects KiTS19's layout")
    return files


def draw_around(label_volume: Volume, seed: int | tuple[int, ...], phase: tissues.Phase) -> Volume:
    """Draws a CT that fits the labels.

    Args:
        label_volume: Volume of uint8 classes, canonical; two voxels or more along each axis.
        seed: int or tuple of ints.
        phase: tissues.Phase of the contrast medium, varied from patient to patient.

    Returns:
        The CT, a Volume of int16 HU.

    Raises:
        ValueError: if the labels have no kidney and no tumor, or an axis has fewer than two voxels.
    """
    if min(label_volume.voxels.shape) < 2:
        raise ValueError(f"labels must have two voxels or more along each axis, got shape {label_volume.voxels.shape}")
    patient_rng, drawing_rng, scan_rng = np.random.default_rng(seed).spawn(3)
    spacing = np.array(label_volume.spacing_mm)
    pieces = _pieces(label_volume)
    kidneys = [piece for piece in pieces if piece.ml >= KIDNEY_ML] or pieces[:1]
    middle = _spine(label_volume.voxels.shape, kidneys, spacing)
    depth, height, width = label_volume.voxels.shape
    grid = Grid((depth, height, width), label_volume.spacing_mm, tuple((-middle).tolist()))
    patient = _fit(Patient.random(patient_rng), pieces, grid, patient_rng.random() < CROPPED)
    phase = tissues.vary(phase, patient_rng)
    hu = draw_torso(grid, patient, drawing_rng)
    top = min(piece.box[0].start for piece in kidneys) * spacing[0] - middle[0]
    draw_organs(hu, grid, patient, phase, drawing_rng, float(top))
    surroundings.draw_mesentery(hu, grid, patient, phase, drawing_rng)
    # Draw all surroundings first, so that those of one kidney never cover another kidney.
    for piece in pieces:
        surroundings.draw_fat(hu, piece, grid, drawing_rng)
    for piece in kidneys:
        surroundings.draw_neighbors(hu, piece, grid, patient, phase, drawing_rng)
    for piece in kidneys:
        surroundings.draw_sinus(hu, piece, grid)
        surroundings.draw_vessels(hu, piece, grid, phase, drawing_rng)
    for piece in pieces:
        _draw_kidney(hu, piece, grid, phase, drawing_rng)
    keep = labels.foreground(label_volume.voxels).any(axis=0)
    return label_volume.with_voxels(scan_hard(hu, grid, scan_rng, keep))


def _pieces(label_volume):
    """Returns the connected components of the foreground, largest first."""
    whole = ndimage.find_objects(labels.foreground(label_volume.voxels).astype(np.uint8))
    if not whole:
        raise ValueError("labels must contain a kidney or a tumor, got none")
    outer = whole[0]
    voxels = label_volume.voxels[outer]
    components, _ = ndimage.label(labels.foreground(voxels), np.ones((3, 3, 3)))
    pieces = []
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        own = voxels[box] * (components[box] == index)
        place = tuple(slice(part.start + base.start, part.stop + base.start)
                      for part, base in zip(box, outer, strict=True))
        pieces.append(Piece(place, own, float((own > 0).sum()) * label_volume.voxel_ml))
    return sorted(pieces, key=lambda piece: -piece.ml)


def _spine(shape, pieces, spacing):
    """Returns the position of the vertebral body between the kidneys, (z, y, x) in mm from the first voxel."""
    centres = []
    for piece in pieces[:2]:
        hits = piece.voxels == labels.KIDNEY
        if not hits.any():
            hits = labels.foreground(piece.voxels)
        within = np.array([np.average(np.arange(size), weights=hits.sum(axis=tuple({0, 1, 2} - {axis})))
                           for axis, size in enumerate(hits.shape)])
        centres.append((within + [part.start for part in piece.box]) * spacing)
    widest = max((piece.box[2].stop - piece.box[2].start) * spacing[2] for piece in pieces)
    middle = np.mean(centres, axis=0)
    if len(centres) == 1 or abs(centres[0][2] - centres[1][2]) < BESIDE_SPINE_MM:
        middle = centres[0]
        if widest < FUSED_MM:  # one kidney: the spine lies toward the middle of the image
            picture = shape[2] * spacing[2] / 2
            middle[2] += BESIDE_SPINE_MM if middle[2] < picture else -BESIDE_SPINE_MM
        else:
            middle[1] += 30  # the bridge lies in front of the spine
    return middle - (0, 7, 0)


def _fit(patient, pieces, grid, cropped):
    """Fits the patient's size to the field of view and the kidneys.

    The body is made to fit the image or, if cropped, wider than the image. Then it grows until it contains the
    kidneys, in at most 30 steps.
    """
    field_mm = grid.shape[2] * grid.spacing_mm[2]
    if cropped:
        half_width = np.clip(field_mm / 2 + 12, patient.half_width_mm, 215)
    else:
        half_width = min(patient.half_width_mm, field_mm / 2 - 5)
    patient = dataclasses.replace(patient, half_width_mm=float(half_width))
    places = []
    for piece in pieces:
        hits = np.argwhere(piece.voxels)[::97] + [part.start for part in piece.box]
        places.append(hits * grid.spacing_mm + grid.origin_mm)
    z, y, x = np.concatenate(places).astype(np.float32).T
    for _ in range(30):
        outside = patient.cavity(z, y, x) > -4
        if not outside.any():
            break
        behind, side = (outside & (y > 20)).any(), (outside & (np.abs(x) > 60)).any()
        before = (outside & (y < -40)).any() or not (behind or side)
        patient = dataclasses.replace(patient, back_mm=patient.back_mm + 4 * bool(behind),
                                      front_mm=patient.front_mm + 5 * bool(before),
                                      half_width_mm=patient.half_width_mm + 5 * bool(side))
    return patient


def _draw_kidney(hu, piece, grid, phase, rng):
    """Draws one kidney, or one fused pair, with its cysts and tumors."""
    spacing = grid.spacing_mm
    window, voxels = piece.within(grid, 2.0)
    mesh = grid.mesh(window)
    low, high = [float(axis.min()) for axis in mesh], [float(axis.max()) for axis in mesh]
    inside = labels.foreground(voxels)
    # Measure the depth with the sinus filled, so that no cortex is drawn along the sinus.
    filled = inside | (surroundings.closeness(inside, spacing) > 0.6)
    depth = ndimage.distance_transform_edt(filled, spacing).astype(np.float32)
    tissue = kidney_tissue(rng, phase, low, high)(depth, *mesh)
    cyst, fluid = surroundings.cysts(rng, piece, grid, mesh)
    blend(hu, window, _cover(inside, spacing), tissue + cyst * (fluid - tissue))
    spread = SPREAD * max(phase.cortex - SOFT_HU, 30.0)
    tumors, count = ndimage.label(labels.tumor(voxels), np.ones((3, 3, 3)))
    for index, found in zip(range(1, count + 1), ndimage.find_objects(tumors), strict=True):
        box = tuple(slice(max(part.start - 2, 0), part.stop + 2) for part in found)
        mask = tumors[box] == index
        depth = ndimage.distance_transform_edt(np.pad(mask, 1), spacing)[1:-1, 1:-1, 1:-1].astype(np.float32)
        radius = float(depth.max())
        place = tuple(slice(base.start + part.start, base.start + part.start + size)
                      for base, part, size in zip(window, box, mask.shape, strict=True))
        at = grid.mesh(place)
        necrosis = rng.uniform(0.25, 0.65) if radius > 10 and rng.random() < 0.5 else 0.0
        value = tumor_tissue(rng, phase, [float(axis.min()) for axis in at], [float(axis.max()) for axis in at],
                             max(radius, 3.0), rng.random(), necrosis, spread * rng.uniform(0.5, 1.2),
                             spread * rng.uniform(0, 1.4))
        blend(hu, place, _cover(mask, spacing), value(depth / radius, *at))


def _cover(mask, spacing_mm):
    """Returns the mask with soft edges: blurred by the point spread in-plane and by the slice thickness along z."""
    along = 0.4 if spacing_mm[0] >= 2 else 0.6 / spacing_mm[0]
    return ndimage.gaussian_filter(mask.astype(np.float32), (along, 0.6, 0.6), truncate=2.5)
