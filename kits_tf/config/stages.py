"""Settings of the five stages, one frozen dataclass each: input size, net and training.

All sizes are in normalized voxels (CascadeConfig.spacing_mm), unless the name has another unit. Each class raises
ValueError for an invalid value.
"""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.training import TrainingConfig

STAGES = ("coarse", "correction", "fine", "tumor3d", "tumor2d")
KIDNEY_LOSS: dict = {"dice_weight": 0.5, "cross_entropy_weight": 0.5}
# Dice over the batch ignores small tumors; Dice per slice is dominated by slices without tumor (losses.py).
LESION_LOSS: dict = {"dice_weight": 0.25, "example_dice_weight": 0.25, "cross_entropy_weight": 0.5}


def plane_axes(stage: str) -> str:
    """Returns the axes of the planes that augmentation rotates and mirrors: "yx" (axial); for correction "zy"."""
    return "zy" if stage == "correction" else "yx"


@dataclasses.dataclass(frozen=True)
class CoarseConfig:
    """Settings of the coarse stage: finds the kidneys in whole axial slices, padded to squares with air and resized."""

    size_voxels: int = 128  # size of the coarse grid in y and x, in its own pixels
    predict_batch: int = 16  # slices that the net takes at a time in prediction
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "size_voxels", "predict_batch")
        self.net.check_size("size_voxels", self.size_voxels)


@dataclasses.dataclass(frozen=True)
class CorrectionConfig:
    """Settings of the correction stage: finds the kidneys again if the coarse stage did not find exactly two.

    Its inputs are crops of sagittal planes around the centroid of the foreground.
    """

    crop_voxels: tuple[int, int] = (64, 256)  # size of a crop: z, y
    overlap_voxels: tuple[int, int] = (16, 64)  # overlap of crops, if the coarse foreground exceeds one crop: z, y
    jitter_voxels: tuple[int, int] = (6, 16)  # largest shift of a training crop: z, y
    elsewhere: int = 0  # more training crops per case, centered anywhere in the body; see fine.elsewhere
    predict_batch: int = 16  # crops that the net takes at a time in prediction
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "crop_voxels", "predict_batch")
        check_least(self, 0, "jitter_voxels", "elsewhere")
        self.net.check_size("crop_voxels", self.crop_voxels)
        for size, overlap in zip(self.crop_voxels, self.overlap_voxels, strict=True):
            check(0 <= overlap < size, "overlap_voxels", self.overlap_voxels, "zero or more and smaller than the crop")


@dataclasses.dataclass(frozen=True)
class FineConfig:
    """Settings of the fine stage: segments one kidney with its tumor in axial crops around it."""

    crop_voxels: int = 160  # size of a crop in y and x
    margin_voxels: int = 12  # margin around a kidney's box; if box and margin exceed one crop, several are used
    overlap_voxels: int = 64  # overlap of crops, if a kidney is larger than one crop
    extra_slices: int = 3  # slices beyond each pole of the kidney
    jitter_voxels: int = 16  # largest shift of a training crop, in y and x
    # more training crops per case, centered anywhere in the body: the net meets such places in prediction if the mask
    # before it is wrong. Above zero, cases without a kidney are accepted too
    elsewhere: int = 0
    predict_batch: int = 16  # crops that the net takes at a time in prediction
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "crop_voxels", "predict_batch")
        check_least(self, 0, "margin_voxels", "extra_slices", "jitter_voxels", "elsewhere")
        self.net.check_size("crop_voxels", self.crop_voxels)
        check(0 <= self.overlap_voxels < self.crop_voxels, "overlap_voxels", self.overlap_voxels,
               "zero or more and smaller than the crop")


@dataclasses.dataclass(frozen=True)
class Tumor3dConfig:
    """Settings of the tumor3d stage: detects tumors in 3D patches inside the box around the kidneys."""

    patch_voxels: tuple[int, int, int] = (32, 96, 96)  # size of a training patch: z, y, x
    jitter_voxels: tuple[int, int, int] = (4, 16, 16)  # largest shift of a training patch: z, y, x
    centres_per_class: int = 8  # stored patches per case and class (background, kidney, tumor)
    roi_pad_voxels: int = 30  # in-plane margin around the fine result; same length in mm along z
    tile_voxels: tuple[int, int, int] = (64, 112, 112)  # size of a tile in prediction: z, y, x
    # weight in the loss of a second output, kidney with tumor; 0: no such output. Prediction does not use it, but a net
    # that also learns the kidneys learns tumors sooner
    kidney_weight: float = 0.0
    net: FCN3DConfig = FCN3DConfig()
    training: TrainingConfig = TrainingConfig(batch_size=4, dice_weight=0.0, cross_entropy_weight=1.0)

    def __post_init__(self):
        check_types(self)
        check(0 <= self.kidney_weight < 1, "kidney_weight", self.kidney_weight, "from 0 to below 1")
        check_least(self, 1, "patch_voxels", "tile_voxels")
        check_least(self, 0, "jitter_voxels", "centres_per_class", "roi_pad_voxels")
        for name in ("patch_voxels", "tile_voxels"):
            size = getattr(self, name)
            check(size[0] % 2 == 0 and size[1] % 4 == 0 and size[2] % 4 == 0, name, size, "multiples of (2, 4, 4)")


@dataclasses.dataclass(frozen=True)
class Tumor2dConfig:
    """Settings of the tumor2d stage: segments tumors in the fine stage's crops, with the kidney mask as 2nd channel."""

    predict_batch: int = 16  # crops that the net takes at a time in prediction
    # whether to start from the fine stage's best weights of the same fold instead of a random initialization: that net
    # has seen the same crops and knows the kidney. Both nets must have the same architecture
    start_from_fine: bool = False
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig(**LESION_LOSS)

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "predict_batch")
