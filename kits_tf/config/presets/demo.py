"""The paper's cascade on voxels twice as wide (all sizes in mm stay), with nets a tenth as heavy.

For      seeing the whole chain work on two CPU cores, on synthetic phantoms
Command  make demo
Minutes  10 for all of it, from drawing to scores (9 min 34 s; 12 min 20 s on cores with AVX2 alone)
Memory   not measured in training
Scores   12 held-out phantoms, 29 November 2026: mean Dice 0.973 (kidney with tumor) and 0.802 (tumor). MODEL_CARD.md
         has more. On real scans these nets find nothing of use.
"""

import dataclasses

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.stages import (
    LESION_LOSS,
    CoarseConfig,
    CorrectionConfig,
    FineConfig,
    Tumor2dConfig,
    Tumor3dConfig,
)
from kits_tf.config.training import AugmentConfig, TrainingConfig

NARROW = UNetConfig(base_filters=8, levels=4)  # multiples of 8: a CPU takes 12 filters half as fast again as 16
GENTLE = AugmentConfig(rotate_degrees=10.0, scale=0.1, brightness=0.05, contrast=0.1, noise=0.03)
MIRRORED = dataclasses.replace(GENTLE, flip_x=True)
# Tumor and medulla differ by little but their Hounsfield units, which a scanner calibrates: those stay as they are.
CALIBRATED = dataclasses.replace(MIRRORED, brightness=0.0, contrast=0.0)
QUICK = TrainingConfig(steps_per_epoch=50, learning_rate=3e-3)


def _training(epochs, augment, **changes):
    return dataclasses.replace(QUICK, epochs=epochs, augment=augment, **changes)


DEMO = CascadeConfig(
    preset="demo",
    spacing_mm=(4.0, 1.5632, 1.5632),
    kidney_min_voxels=1875,  # the same 18 ml
    tumor_min_voxels=10,
    refine_margin_voxels=5,
    coarse=CoarseConfig(size_voxels=64, net=NARROW, training=_training(10, GENTLE)),
    correction=CorrectionConfig(crop_voxels=(48, 128), overlap_voxels=(12, 32), jitter_voxels=(4, 8), net=NARROW,
                                training=_training(5, GENTLE)),
    fine=FineConfig(crop_voxels=80, margin_voxels=6, overlap_voxels=32, jitter_voxels=8, net=NARROW,
                    training=_training(12, MIRRORED)),
    # On cross-entropy alone tumor3d needs more steps than a demo has before it finds a single tumor.
    tumor3d=Tumor3dConfig(patch_voxels=(24, 48, 48), jitter_voxels=(3, 8, 8), roi_pad_voxels=15,
                          tile_voxels=(24, 64, 64), kidney_weight=0.5, net=FCN3DConfig(filters=(8, 16, 32)),
                          training=_training(14, CALIBRATED, batch_size=6, **LESION_LOSS)),
    tumor2d=Tumor2dConfig(net=UNetConfig(base_filters=16, levels=4),
                          training=_training(14, CALIBRATED, **LESION_LOSS)),
)
