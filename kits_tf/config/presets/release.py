"""The cascade at 3 x 1.1724 x 1.1724 mm, trained on whole-body phantoms: the model that ships.

For      CT of any scanner, phase and field of view, and for fine-tuning on cases of your own
Grid     in-plane voxels half as wide again as the paper's; crops and margins keep their size in mm
Command  make release
"""

import dataclasses
import functools

from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.stages import KIDNEY_LOSS, LESION_LOSS
from kits_tf.config.training import AugmentConfig, TrainingConfig

NARROW, WIDE = UNetConfig(base_filters=8), UNetConfig(base_filters=16, max_filters=96)
# Phantoms have sharper edges and fewer textures than scans: gray values, resolution and shapes vary widely.
VARIED = AugmentConfig(rotate_degrees=15.0, scale=0.2, shear=0.1, elastic_voxels=2.0, brightness=0.08, contrast=0.25,
                       gamma=0.3, blur_voxels=1.0, low_resolution=0.5, noise=0.04)
MIRRORED = dataclasses.replace(VARIED, flip_x=True)
# Tumors differ from the kidney in little but Hounsfield units.
LESIONS = dataclasses.replace(MIRRORED, brightness=0.05, contrast=0.15, gamma=0.2, noise=0.03)
LONG = TrainingConfig(steps_per_epoch=1500, learning_rate=2e-3, warm_up_steps=200, average_decay=0.998)
training = functools.partial(dataclasses.replace, LONG)

RELEASE = dataclasses.replace(
    PAPER,
    preset="release",
    spacing_mm=(3.0, 1.1724, 1.1724),
    kidney_min_voxels=4444,  # 18 ml, as in the paper preset
    most_kidneys=2,  # in scans of whole bodies, bright bowel and the spleen look like a third one
    kidney_confidence=(-3.109, 1.699, -0.066),  # both fitted on 71 validation phantoms (benchmarks/confidence)
    tumor_confidence=(-2.814, 0.27, 0.61),
    tumor_min_voxels=22,  # 0.1 ml
    lesion_threshold=0.9,  # this and the next by the validation scans (benchmarks/real/RESULTS.md)
    tumor_fusion="tumor2d",
    refine_margin_voxels=7,
    coarse=dataclasses.replace(PAPER.coarse, net=NARROW, training=training(epochs=6, augment=VARIED, **KIDNEY_LOSS)),
    correction=dataclasses.replace(
        PAPER.correction, crop_voxels=(64, 176), overlap_voxels=(16, 48), jitter_voxels=(6, 12), elsewhere=12,
        net=NARROW, training=training(epochs=4, augment=VARIED, **KIDNEY_LOSS)),
    fine=dataclasses.replace(
        PAPER.fine, crop_voxels=112, margin_voxels=8, overlap_voxels=48, jitter_voxels=12, elsewhere=24, net=WIDE,
        training=training(epochs=7, augment=MIRRORED, **KIDNEY_LOSS)),
    tumor3d=dataclasses.replace(
        PAPER.tumor3d, patch_voxels=(24, 64, 64), jitter_voxels=(4, 12, 12), roi_pad_voxels=20,
        tile_voxels=(32, 80, 80), kidney_weight=0.4, net=FCN3DConfig(filters=(8, 16, 32)),
        training=training(epochs=6, augment=LESIONS, batch_size=6, **LESION_LOSS)),
    tumor2d=dataclasses.replace(
        PAPER.tumor2d, start_from_fine=True, net=WIDE,
        training=training(epochs=5, augment=LESIONS, cases_alike=True, **LESION_LOSS)),
)
