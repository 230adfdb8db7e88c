"""The paper's cascade at 4 x 1.5632 x 1.5632 mm, with nets a quarter to half as wide.

The nets need about a tenth of the paper's work per voxel.

For      a demonstration of the whole pipeline on two CPU cores, with synthetic phantoms
Grid     in-plane voxels twice as wide; crops and margins keep their size in mm
Command  make demo
Minutes  10 for the whole pipeline, from phantoms to scores (9 min 34 s; 12 min 20 s on cores with AVX2 alone)
Memory   not measured in training
Scores   on 12 test phantoms, 2026-11-29: mean Dice 0.973 (kidney with tumor) and 0.802 (tumor), see MODEL_CARD.md.
         These nets are of no use on real scans.
"""

import dataclasses
import functools

from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.stages import LESION_LOSS
from kits_tf.config.training import AugmentConfig, TrainingConfig

NARROW = UNetConfig(base_filters=8, levels=4)  # multiples of 8: on a CPU, 12 filters take half as long again as 16
GENTLE = AugmentConfig(rotate_degrees=10.0, scale=0.1, brightness=0.05, contrast=0.1, noise=0.03)
MIRRORED = dataclasses.replace(GENTLE, flip_x=True)
# Tumor and medulla differ in little but their Hounsfield units, which scanners calibrate: these are not varied.
CALIBRATED = dataclasses.replace(MIRRORED, brightness=0.0, contrast=0.0)
QUICK = TrainingConfig(steps_per_epoch=50, learning_rate=3e-3)
training = functools.partial(dataclasses.replace, QUICK)

DEMO = dataclasses.replace(
    PAPER,
    preset="demo",
    spacing_mm=(4.0, 1.5632, 1.5632),
    kidney_min_voxels=1875,  # 18 ml, as in the paper preset
    tumor_min_voxels=10,
    refine_margin_voxels=5,
    coarse=dataclasses.replace(PAPER.coarse, size_voxels=64, net=NARROW, training=training(epochs=10, augment=GENTLE)),
    correction=dataclasses.replace(
        PAPER.correction, crop_voxels=(48, 128), overlap_voxels=(12, 32), jitter_voxels=(4, 8), net=NARROW,
        training=training(epochs=5, augment=GENTLE)),
    fine=dataclasses.replace(
        PAPER.fine, crop_voxels=80, margin_voxels=6, overlap_voxels=32, jitter_voxels=8, net=NARROW,
        training=training(epochs=12, augment=MIRRORED)),
    # With cross-entropy alone, tumor3d needs more steps than the demo has before it finds a single tumor.
    tumor3d=dataclasses.replace(
        PAPER.tumor3d, patch_voxels=(24, 48, 48), jitter_voxels=(3, 8, 8), roi_pad_voxels=15,
        tile_voxels=(24, 64, 64), kidney_weight=0.5, net=FCN3DConfig(filters=(8, 16, 32)),
        training=training(epochs=14, augment=CALIBRATED, batch_size=6, **LESION_LOSS)),
    tumor2d=dataclasses.replace(PAPER.tumor2d, net=UNetConfig(base_filters=16, levels=4),
                                training=training(epochs=14, augment=CALIBRATED, **LESION_LOSS)),
)
