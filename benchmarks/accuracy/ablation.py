"""Ablation study: runs the cascade without some of its parts, and each rule on cases that need it.

Takes a trained run and a study; writes prediction_<id>.nii.gz per variant and case. The cascade has no switches for
this. A part is removed by a net that returns zeros, by an existing setting, or by replacing one of the cascade's
functions while the graph is built.
"""

import contextlib
import dataclasses
from unittest import mock

import numpy as np
import tensorflow as tf
import tqdm
from scipy import ndimage

from benchmarks.accuracy.protocol import prediction
from kits_tf import labels as classes
from kits_tf.cascade import kidney_steps, lesion_steps
from kits_tf.cascade.collect import collect
from kits_tf.cascade.module import segment
from kits_tf.ops import resample
from kits_tf.scans.nifti import read_labels, read_volume, write_labels

TUMOR_NETS = ("tumor3d", "tumor2d")
STRAY_GAP_MM = 8.0  # least distance between a stray lesion and any kidney
LARGEST_STRAY_ML = 60.0


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run the cascade.

    Attributes:
        name: its name in the results.
        description: its description in the results.
        coarse_alone: whether the coarse mask is the final result.
        correction, covering, part_rule, lesion_rule, no_tumor_rule: whether that part is used. Covering: several crops
            for a kidney larger than one crop. Part rule: parts that only the fine net finds are dropped.
        silent: stages whose nets return zeros.
        blind: whether the coarse mask is empty on the patient's right.
        stray: whether a tumor is copied to a place that touches no kidney.
        settings: fields of CascadeConfig that replace the chosen ones.
    """

    name: str
    description: str
    coarse_alone: bool = False
    correction: bool = True
    covering: bool = True
    part_rule: bool = True
    lesion_rule: bool = True
    no_tumor_rule: bool = True
    silent: tuple[str, ...] = ()
    blind: bool = False
    stray: bool = False
    settings: dict = dataclasses.field(default_factory=dict)


VARIANTS = (
    Variant("coarse", "coarse alone", coarse_alone=True),
    Variant("fine", "+ fine", correction=False, silent=TUMOR_NETS),
    Variant("correction", "+ correction", silent=TUMOR_NETS),
    Variant("tumor3d", "+ tumor3d", lesion_rule=False, no_tumor_rule=False, silent=("tumor2d",),
            settings={"tumor_fusion": "union"}),
    Variant("tumor2d", "+ tumor2d", lesion_rule=False, no_tumor_rule=False),
    Variant("lesion_rule", "+ lesion rule", no_tumor_rule=False),
    Variant("no_covering", "full, one 160-crop for any kidney", covering=False),
    Variant("no_part_rule", "full, what fine alone takes for kidney stays", part_rule=False),
    Variant("fusion_union", "full, union of tumor3d and tumor2d", settings={"tumor_fusion": "union"}),
    Variant("fusion_tumor2d", "full, tumor2d alone where tumor3d detected",
            settings={"tumor_fusion": "tumor2d"}),
    Variant("threshold_half", "full, a lesion is what tumor3d gives more than one half",
            settings={"lesion_threshold": 0.5}),
    Variant("missed_kidney_without", "coarse blind on one side, no correction", correction=False, blind=True),
    Variant("missed_kidney", "coarse blind on one side, correction", blind=True),
    Variant("missed_tumor_without", "tumor3d answers nothing, no no-tumor rule", no_tumor_rule=False,
            silent=("tumor3d",)),
    Variant("missed_tumor", "tumor3d answers nothing, no-tumor rule", silent=("tumor3d",)),
    Variant("stray_lesion_without", "a tumor's copy beside the kidneys, no lesion rule", lesion_rule=False, stray=True),
    Variant("stray_lesion", "a tumor's copy beside the kidneys, lesion rule", stray=True),
)


def same_as_full(chosen):
    """Returns the variants that are equal to the whole cascade: no part removed, and only chosen settings."""
    return [variant for variant in VARIANTS if variant.settings.items() <= chosen.items()
            and variant == Variant(variant.name, variant.description, settings=variant.settings)]


def load(run_dir):
    """Loads a run's (nets, config): a dict of one function per stage, and the CascadeConfig."""
    nets, config = collect(run_dir)
    return {stage: lambda image, model=members[0]: model(image, training=False)
            for stage, members in nets.items()}, config


def _blinded(net):
    def call(image):
        width = image.shape[2]
        sees = tf.cast(tf.range(width) >= width // 2, tf.float32)[:, tf.newaxis]  # x runs from right to left
        return tf.cast(net(image), tf.float32) * sees

    return call


def variant_nets(nets, variant):
    """Returns the nets with a variant's changes."""
    changed = {stage: (lambda image: tf.zeros_like(image[..., :1])) for stage in variant.silent}
    if variant.blind:
        changed["coarse"] = _blinded(nets["coarse"])
    return {**nets, **changed}


@contextlib.contextmanager
def parts(variant):
    """Replaces the parts that a variant lacks by functions without effect, while a graph is built in this context."""
    keep_connected, kidney_blocks = lesion_steps.keep_connected, kidney_steps.kidney_blocks

    def keep_all(probabilities, kidney_mask):
        return keep_connected(probabilities, tf.ones_like(kidney_mask))

    def one_crop(kidneys, index, grid, config):
        middle = tf.cast(tf.floor(kidneys.centre[:, 1:] + 0.5), tf.int32)
        return kidney_blocks(kidneys._replace(
            start=tf.concat([kidneys.start[:, :1], middle], axis=1),
            stop=tf.concat([kidneys.stop[:, :1], middle + 1], axis=1)), index, grid, config)

    with contextlib.ExitStack() as stack:
        if not variant.correction:
            stack.enter_context(mock.patch.object(kidney_steps, "correct", lambda *given: given[4]))  # `found`
        if not variant.part_rule:
            stack.enter_context(mock.patch.object(kidney_steps, "keep_found", lambda *given: (given[0], 0)))
        if not variant.lesion_rule:
            stack.enter_context(mock.patch.object(lesion_steps, "keep_connected", keep_all))
        if not variant.covering:
            stack.enter_context(mock.patch.object(kidney_steps, "kidney_blocks", one_crop))
        yield


def build(nets, config, variant):
    """Builds the function from (int16 volume, spacing_mm) to the variant's labels."""
    changes = {} if variant.no_tumor_rule else {"tumor_min_voxels": 0}
    config, nets = dataclasses.replace(config, **changes, **variant.settings), variant_nets(nets, variant)

    def run(volume, spacing_mm):
        return coarse_labels(nets["coarse"], volume, spacing_mm, config) if variant.coarse_alone else (
            segment(nets, volume, spacing_mm, config)["labels"])

    with parts(variant):
        return tf.function(run, autograph=False, input_signature=[
            tf.TensorSpec((None, None, None), tf.int16), tf.TensorSpec((3,), tf.float32)]).get_concrete_function()


def coarse_labels(net, volume, spacing_mm, config):
    """Returns the coarse mask as labels on the volume's grid, by nearest neighbor."""
    shape = tf.shape(volume)
    grid = resample.grid_size(shape, spacing_mm, config.spacing_mm)
    mask = kidney_steps.coarse_mask(net, kidney_steps.coarse_slices(volume, grid, config), config)
    scale, offset = kidney_steps.coarse_scale(grid, config)
    middles = [(tf.cast(tf.range(shape[axis]), tf.float32) + 0.5) * tf.cast(grid[axis] / shape[axis], tf.float32)
               for axis in range(3)]
    mask = kidney_steps.mask_at(mask, scale, offset, middles)
    return tf.cast(mask, tf.uint8) * classes.KIDNEY


def with_stray_lesion(volume, truth):
    """Copies the largest tumor to a place in front of the kidneys where it touches none.

    Returns:
        The changed HU, or None if there is no tumor, it is too large, or there is no room.
    """
    numbered, _ = ndimage.label(classes.tumor(truth.voxels))
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    if not 0 < sizes.max() * truth.voxel_ml <= LARGEST_STRAY_ML:
        return None
    largest = numbered == sizes.argmax()
    places = np.argwhere(largest)
    gap = [int(np.ceil(STRAY_GAP_MM / step)) for step in truth.spacing_mm]
    for forward_mm in range(20, 120, 4):
        moved = places - [0, round(forward_mm / truth.spacing_mm[1]), 0]
        low, high = moved.min(axis=0), moved.max(axis=0) + 1
        if low[1] < 0:
            return None
        around = tuple(slice(max(0, start - more), stop + more) for start, stop, more in zip(
            low, high, gap, strict=True))
        target = tuple(moved.T)
        if not classes.foreground(truth.voxels[around]).any() and (volume.voxels[target] > -300).mean() > 0.95:
            hu = volume.voxels.copy()
            hu[target] = volume.voxels[tuple(places.T)]
            return hu
    return None


def predict(run_dir, cases, output, variants=VARIANTS, **chosen):
    """Predicts cases with every variant and writes the labels to output/<variant>. Skips existing predictions.

    Args:
        run_dir: a trained run.
        cases: folders with imaging.nii.gz and segmentation.nii.gz.
        output: folder to write to.
        variants: the Variants to run.
        chosen: fields of CascadeConfig that replace the run's own.
    """
    nets = config = None
    for variant in variants:
        function = None
        folder = output / variant.name
        for case in tqdm.tqdm(cases, desc=variant.name, unit="case"):
            target, unfit = prediction(folder, case), folder / f"{case.name}.unfit"
            if target.exists() or unfit.exists():
                continue
            if config is None:
                nets, config = load(run_dir)
                config = dataclasses.replace(config, **chosen)
            function = function or build(nets, config, variant)
            volume = read_volume(case / "imaging.nii.gz")
            hu = volume.voxels
            if variant.stray:
                hu = with_stray_lesion(volume, read_labels(case / "segmentation.nii.gz"))
            folder.mkdir(parents=True, exist_ok=True)
            if hu is None:
                unfit.touch()
                continue
            found = function(tf.constant(hu), tf.constant(volume.spacing_mm, tf.float32))
            write_labels(target, found.numpy(), like=case / "imaging.nii.gz")

