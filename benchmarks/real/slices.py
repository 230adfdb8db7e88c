"""Scores the fine and tumor2d nets on single slices with true labels: kidney, tumor, and tumor given the kidney.

The cascade needs a volume, so the nets are called directly, through the export's signatures, on the crops that the
cascade would cut around each true kidney (kits_tf.cascade.kidney_steps). Only kidneys whose share of tumor is within
SHARE are scored. Dice is computed on pixels of the normalized size.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from benchmarks.real import clipping, protocol
from data_prep.cases import NormalizedCase
from kits_tf.cascade.kidney_steps import THRESHOLD, Kidneys, Region, find_kidneys, predict_kidneys
from kits_tf.config import CascadeConfig
from kits_tf.errors import InputError
from kits_tf.evaluation.scores import dice
from kits_tf.labels import foreground, tumor
from kits_tf.ops import components, resample
from kits_tf.ops.window import scale_window
from kits_tf.scans.nifti import read_labels, read_volume
from kits_tf.volume import Volume, check_same_place, to_int16

SHARE = (0.05, 0.90)  # lowest and highest share of a kidney's pixels that are tumor
LEAST_CM2 = 1.0  # smaller components are label noise, not kidneys
PHANTOM_SLICES = 3  # slices of each phantom
SCORES = ("kidney_dice", "inside_true", "inside_fine", "tumor_dice", "tumor_dice_true")
COLUMNS = ("set", "split", "slice", "kidney", "tumor_share", *SCORES, "all_tumor", "no_tumor", "note")
REAL, PHANTOM, CLIPPED = "real", "phantom", "phantom, clipped"

Nets = dict[str, Callable[[tf.Tensor], tf.Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """One true kidney of a slice, on the slice's normalized grid (1, y, x).

    Attributes:
        image: float32, the windowed slice.
        labels: uint8, the true classes of the whole slice.
        kidney: bool, this kidney with its tumor.
        place: Kidneys with only this kidney, for the position of the cascade's crops.
        grid: int32 (3,), the grid's shape.
    """

    image: tf.Tensor
    labels: np.ndarray
    kidney: np.ndarray
    place: Kidneys
    grid: np.ndarray

    @property
    def tumor_share(self) -> float:
        """The share of the kidney's pixels that are tumor, 0 to 1."""
        return float(np.mean(tumor(self.labels[self.kidney])))

    def predict(self, net: Callable, masks: list, config: CascadeConfig) -> tuple[np.ndarray, np.ndarray]:
        """Runs a net on the crops around this kidney. Returns (mask, looked); `looked` is the area of the crops."""
        region = Region(self.place, self.image, tf.zeros(3, tf.int32), self.grid)
        answers = predict_kidneys(net, region, config, batch=1, masks=masks).numpy()
        return answers > THRESHOLD, answers >= 0


def crops(ct: Volume, labels: Volume, config: CascadeConfig) -> Iterator[Crop]:
    """Yields the kidneys with tumor of one slice, from the patient's right to left.

    Args:
        ct: Volume of one slice, HU; its thickness is ignored.
        labels: Volume of its true classes.
        config: CascadeConfig of the nets.
    """
    spacing_mm = (config.spacing_mm[0], *ct.spacing_mm[1:])
    grid = resample.grid_size(ct.voxels.shape, spacing_mm, config.spacing_mm).numpy()
    case = NormalizedCase("", tf.constant(to_int16(ct.voxels)), tf.constant(labels.voxels), grid, ())
    start = np.zeros(3, np.int32)
    image, truth = scale_window(case.image(start, grid), config.window_hu), case.classes(start, grid)
    numbered, count = components.label_components(tf.constant(foreground(truth)))
    least = LEAST_CM2 * 100.0 / (config.spacing_mm[1] * config.spacing_mm[2])
    found = []
    for number in range(1, int(count) + 1):
        kidney = numbered == number
        place = find_kidneys(kidney, tf.ones(3), tf.zeros(3), grid, least)
        if len(place.start):
            found.append(Crop(image, truth, kidney.numpy(), place, grid))
    for one in sorted(found, key=lambda one: float(one.place.centre[0, 2])):
        if SHARE[0] <= one.tumor_share <= SHARE[1]:
            yield one


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The nets' masks of one Crop, each bool with the shape of the Crop's labels.

    Attributes:
        fine: fine's kidney.
        by_true: tumor2d's tumor with the true kidney as second channel.
        by_fine: tumor2d's tumor with fine's kidney as second channel.
        looked: the area that the crops cover.
    """

    fine: np.ndarray
    by_true: np.ndarray
    by_fine: np.ndarray
    looked: np.ndarray


def answer(one: Crop, nets: Nets, config: CascadeConfig) -> Answers:
    """Runs both nets on one kidney."""
    fine, looked = one.predict(nets["fine"], [], config)
    by_true, by_fine = (one.predict(nets["tumor2d"], [tf.cast(kidney, tf.float32)], config)[0]
                        for kidney in (foreground(one.labels) & looked, fine))
    return Answers(fine, by_true, by_fine, looked)


def score(one: Crop, found: Answers) -> dict:
    """Computes the SCORES of one kidney.

    Returns:
        dict of floats:

        kidney_dice       fine's kidney against all true kidney in the crops
        inside_true       inside the true kidney, the mean of the Dice of tumor and of healthy tissue, of tumor2d with
                          the true kidney as second channel
        inside_fine       the same with fine's kidney as second channel
        tumor_dice        tumor2d with fine's kidney against the true tumor, anywhere in the crops
        tumor_dice_true   tumor2d with the true kidney against the true tumor, anywhere in the crops
        all_tumor, no_tumor  inside_true if all or none of the kidney were labeled tumor
        tumor_share       share of the kidney that is tumor, 0 to 1
    """
    true_kidney, true_tumor = foreground(one.labels) & found.looked, tumor(one.labels) & found.looked
    return {"tumor_share": one.tumor_share, "kidney_dice": dice(true_kidney, found.fine),
            "inside_true": inside(one.kidney, true_tumor, found.by_true),
            "inside_fine": inside(one.kidney, true_tumor, found.by_fine),
            "tumor_dice": dice(true_tumor, found.by_fine), "tumor_dice_true": dice(true_tumor, found.by_true),
            "all_tumor": inside(one.kidney, true_tumor, one.kidney),
            "no_tumor": inside(one.kidney, true_tumor, np.zeros_like(one.kidney))}


def inside(kidney: np.ndarray, true_tumor: np.ndarray, found: np.ndarray) -> float:
    """Returns the mean of the Dice of tumor and of healthy tissue inside a kidney; bool arrays of one shape."""
    true_tumor, found = true_tumor[kidney], found[kidney]
    return (dice(true_tumor, found) + dice(~true_tumor, ~found)) / 2


Keep = Callable[[Crop, Answers, dict], None]


def nothing(*_):
    """Does nothing; the default for `keep`."""


def nets_of(version: pathlib.Path) -> Nets:
    """Loads the fine and tumor2d nets of an exported version, through their own signatures.

    Raises:
        InputError: if the export has no signature for one of them.
    """
    model = tf.saved_model.load(str(version))
    missing = [stage for stage in ("fine", "tumor2d") if stage not in model.signatures]
    if missing:
        raise InputError(f"{version}: has no signature {missing[0]} for the net alone; export it again with "
                         f"python -m kits_tf.cascade")

    def net(stage):
        signature = model.signatures[stage]
        # A signature does not keep its model in memory, so the lambda holds a reference to the model.
        return lambda image, model=model: signature(image=image)["probabilities"]

    return {stage: net(stage) for stage in ("fine", "tumor2d")}


def score_slice(kind: str, name: str, ct: Volume, labels: Volume, nets: Nets, config: CascadeConfig,
                keep: Keep) -> list[dict]:
    """Scores a slice. Returns a row of COLUMNS for each kidney with tumor, and calls `keep` with each kidney, the nets'
    masks and the row."""
    rows = []
    for number, one in enumerate(crops(ct, labels, config), start=1):
        found = answer(one, nets, config)
        rows.append({"set": kind, "split": protocol.split_of_case(name) if kind == REAL else "", "slice": name,
                     "kidney": number, **score(one, found)})
        keep(one, found, rows[-1])
    return rows


def score_real(folder: pathlib.Path, nets: Nets, config: CascadeConfig, keep: Keep = nothing) -> Iterator[dict]:
    """Yields rows of all slices <name>/imaging.nii.gz with segmentation.nii.gz of a folder. A slice that cannot be used
    gives a row with the reason."""
    for path in sorted(folder.glob("*/imaging.nii*")):
        name = path.parent.name
        try:
            ct, labels = read_volume(path), read_labels(path.with_name(path.name.replace("imaging", "segmentation")))
            check_same_place(path, labels, ct, "slice")
            if ct.voxels.shape[0] != 1:
                raise InputError(f"{path}: has {ct.voxels.shape[0]} slices, expected one")
            yield from score_slice(REAL, name, ct, labels, nets, config, keep)
        except InputError as error:
            yield {"set": REAL, "split": protocol.split_of_case(name), "slice": name, "note": str(error)}


def score_phantoms(study: pathlib.Path, nets: Nets, config: CascadeConfig, keep: Keep = nothing) -> Iterator[dict]:
    """Yields rows of slices of a study of phantoms, each unchanged and clipped like the real slices.

    Raises:
        InputError: if the study has no phantoms.
    """
    paths = sorted(study.glob("case_*/segmentation.nii.gz"))
    if not paths:
        raise InputError(f"{study}: no phantoms here, expected case_xxxxx/ as python -m kits_tf.phantoms writes them")
    for path in paths:
        labels, ct = read_labels(path), read_volume(path.with_name("imaging.nii.gz"))
        with_tumor = np.flatnonzero(tumor(labels.voxels).any(axis=(1, 2)))
        chosen = with_tumor[np.linspace(0, len(with_tumor) - 1, 2 + PHANTOM_SLICES).astype(int)[1:-1]]
        for z in sorted(set(chosen.tolist())) if len(with_tumor) else ():
            hu, truth = ct.voxels[z:z + 1], Volume.from_spacing(labels.voxels[z:z + 1], labels.spacing_mm)
            for kind, voxels in ((PHANTOM, hu), (CLIPPED, clipping.clip(hu, ct.spacing_mm[1]))):
                yield from score_slice(kind, f"{path.parent.name}_{z:03d}", truth.with_voxels(voxels), truth, nets,
                                       config, keep)
