"""The settings of the five stages, one frozen dataclass each: what its net sees, its net and its training.

All sizes are in normalized voxels (CascadeConfig.spacing_mm) unless a name says otherwise.
"""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.training import TrainingConfig

STAGES = ("coarse", "correction", "fine", "tumor3d", "tumor2d")
# Dice over the batch leaves small tumors out, Dice over all slices is drowned by those without tumor (losses.py).
LESION_LOSS: dict = {"dice_weight": 0.25, "example_dice_weight": 0.25, "cross_entropy_weight": 0.5}


def plane_axes(stage: str) -> str:
    """The axes of a stage's planes, which augmentation rotates and mirrors: "yx" (axial), for correction "zy"."""
    return "zy" if stage == "correction" else "yx"


@dataclasses.dataclass(frozen=True)
class CoarseConfig:
    """Whole axial slices, made square with air, resized to `size_voxels` squared: where are the kidneys, roughly?"""

    size_voxels: int = 128  # pixels of the coarse grid, in y and x
    predict_batch: int = 16
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "size_voxels", "predict_batch")
        check(self.size_voxels % 2 ** (self.net.levels - 1) == 0, "size_voxels", self.size_voxels,
               f"a multiple of {2 ** (self.net.levels - 1)} for a net of {self.net.levels} levels")


@dataclasses.dataclass(frozen=True)
class CorrectionConfig:
    """Sagittal planes cut around the centroid of the foreground: the second look when two kidneys were not found."""

    crop_voxels: tuple[int, int] = (64, 256)  # z, y
    overlap_voxels: tuple[int, int] = (16, 64)  # between crops, where the coarse foreground is larger than one
    jitter_voxels: tuple[int, int] = (6, 16)  # z, y: training crops move by up to this
    predict_batch: int = 16
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "crop_voxels", "predict_batch")
        check_least(self, 0, "jitter_voxels")
        for size, overlap in zip(self.crop_voxels, self.overlap_voxels, strict=True):
            check(size % 2 ** (self.net.levels - 1) == 0, "crop_voxels", self.crop_voxels,
                   f"multiples of {2 ** (self.net.levels - 1)} for a net of {self.net.levels} levels")
            check(0 <= overlap < size, "overlap_voxels", self.overlap_voxels, "zero or more and smaller than the crop")


@dataclasses.dataclass(frozen=True)
class FineConfig:
    """Axial crops around one kidney at a time: its outline, tumor included."""

    crop_voxels: int = 160  # in y and x
    margin_voxels: int = 12  # tissue kept around a kidney's box before a second crop is laid beside the first
    overlap_voxels: int = 64  # between the crops that cover a kidney larger than one
    extra_slices: int = 3  # beyond either pole
    jitter_voxels: int = 16  # training crops move by up to this in y and x
    predict_batch: int = 16
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "crop_voxels", "predict_batch")
        check_least(self, 0, "margin_voxels", "extra_slices", "jitter_voxels")
        check(self.crop_voxels % 2 ** (self.net.levels - 1) == 0, "crop_voxels", self.crop_voxels,
               f"a multiple of {2 ** (self.net.levels - 1)} for a net of {self.net.levels} levels")
        check(0 <= self.overlap_voxels < self.crop_voxels, "overlap_voxels", self.overlap_voxels,
               "zero or more and smaller than the crop")


@dataclasses.dataclass(frozen=True)
class Tumor3dConfig:
    """3D patches inside the box around the kidneys: where are the tumors?"""

    patch_voxels: tuple[int, int, int] = (32, 96, 96)  # z, y, x
    jitter_voxels: tuple[int, int, int] = (4, 16, 16)  # training patches move by up to this around a stored centre
    centres_per_class: int = 8  # stored per case and class (background, kidney, tumor)
    roi_pad_voxels: int = 30  # in-plane, around the fine result; the same length in mm along z
    tile_voxels: tuple[int, int, int] = (64, 112, 112)  # in prediction
    tile_overlap: float = 0.25  # of a tile, along each axis
    # Share in the loss of a second output, kidney with tumor, that no prediction uses; 0: the net has none. A net that
    # must find the kidneys too learns sooner what is tumor.
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
        check(0 <= self.tile_overlap < 1, "tile_overlap", self.tile_overlap, "from 0 to below 1")


@dataclasses.dataclass(frozen=True)
class Tumor2dConfig:
    """The fine stage's crops with the kidney mask as a second channel: the tumor's outline."""

    predict_batch: int = 16
    # From the fine stage's best weights of the same fold in place of fresh ones: it has seen the same crops, and knows
    # what is kidney. The two nets must be alike.
    start_from_fine: bool = False
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig(**LESION_LOSS)

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "predict_batch")
