"""Settings of the whole cascade: the five stages and the rules that connect them.

The defaults follow Zhang et al. (KiTS19 entry), with our own choices where the paper gives no value. "Normalized"
means: at `CascadeConfig.spacing_mm`.
"""

import dataclasses
import typing

from kits_tf.config.checks import check, check_least, check_types
from kits_tf.config.stages import (
    STAGES,
    CoarseConfig,
    CorrectionConfig,
    FineConfig,
    Tumor2dConfig,
    Tumor3dConfig,
    plane_axes,
)

RECORDS = 2  # version of the records: raise it when the same case and settings would give other examples


@dataclasses.dataclass(frozen=True)
class CascadeConfig:
    """Settings of the five stages and the rules that connect them. Raises ValueError for an invalid value."""

    preset: str = "paper"
    spacing_mm: tuple[float, float, float] = (3.0, 0.7816, 0.7816)  # normalized voxel size: z, y, x
    window_hu: tuple[float, float] = (-79.0, 304.0)  # Hounsfield units scaled to 0..1; the range is usual for KiTS19
    kidney_min_voxels: int = 10000  # voxels (18 ml); a smaller connected component is no kidney
    most_kidneys: int = 0  # parts of the fine result to keep, the largest ones; 0 keeps all, as the paper does
    tumor_min_voxels: int = 50  # voxels (0.1 ml); if tumor3d detects fewer, they are ignored
    refine_margin_voxels: int = 10  # in-plane margin around detections in which tumor2d acts; same mm along z
    # probability above which tumor3d detects a lesion; its training patches have more tumor than real scans
    lesion_threshold: float = 0.5
    tumor_fusion: str = "union"  # tumor within tumor2d's region: "union" with tumor3d, or "tumor2d" alone
    # logistic correction of the reported confidence of each kidney (cascade/confidence.py): constant, factor of the
    # mean probability's logit, factor of the logarithm of the volume in ml; the default corrects nothing
    kidney_confidence: tuple[float, float, float] = (0.0, 1.0, 0.0)
    tumor_confidence: tuple[float, float, float] = (0.0, 1.0, 0.0)  # the same for each tumor
    coarse: CoarseConfig = CoarseConfig()
    correction: CorrectionConfig = CorrectionConfig()
    fine: FineConfig = FineConfig()
    tumor3d: Tumor3dConfig = Tumor3dConfig()
    tumor2d: Tumor2dConfig = Tumor2dConfig()

    def __post_init__(self):
        check_types(self)
        check(all(0 < mm < float("inf") for mm in self.spacing_mm), "spacing_mm", self.spacing_mm,
               "three positive numbers")
        check_least(self, 0, "kidney_min_voxels", "most_kidneys", "tumor_min_voxels", "refine_margin_voxels")
        low, high = self.window_hu
        check(low < high, "window_hu", self.window_hu, "rising")
        check(0 < self.lesion_threshold < 1, "lesion_threshold", self.lesion_threshold, "between 0 and 1")
        check(self.tumor_fusion in ("union", "tumor2d"), "tumor_fusion", self.tumor_fusion, '"union" or "tumor2d"')

    def stage(self, name: str) -> typing.Any:
        """Returns the settings of one stage. Raises ValueError if the name is not in STAGES."""
        check(name in STAGES, "stage", name, "one of " + ", ".join(STAGES))
        return getattr(self, name)

    def input_shape(self, stage: str) -> tuple[int, ...]:
        """Returns the input shape of a stage's net, without channels: (y, x); correction (z, y); tumor3d (z, y, x)."""
        return {
            "coarse": (self.coarse.size_voxels,) * 2,
            "correction": self.correction.crop_voxels,
            "fine": (self.fine.crop_voxels,) * 2,
            "tumor3d": self.tumor3d.patch_voxels,
            "tumor2d": (self.fine.crop_voxels,) * 2,
        }[stage]

    def outputs(self, stage: str) -> int:
        """Returns the number of output masks of a stage's net: 1, or 2 for tumor3d with a `kidney_weight`."""
        return 2 if stage == "tumor3d" and self.tumor3d.kidney_weight else 1

    def jitter(self, stage: str) -> tuple[int, ...]:
        """Returns how far a training crop may move from its record's center, in voxels per axis of `input_shape`."""
        return {
            "coarse": (0, 0),
            "correction": self.correction.jitter_voxels,
            "fine": (self.fine.jitter_voxels,) * 2,
            "tumor3d": self.tumor3d.jitter_voxels,
            "tumor2d": (self.fine.jitter_voxels,) * 2,
        }[stage]

    def record_shape(self, stage: str) -> tuple[int, ...]:
        """Returns the shape of a stored training example: the input shape plus jitter on every side."""
        return tuple(size + 2 * room for size, room in zip(self.input_shape(stage), self.jitter(stage), strict=True))

    def elsewhere(self, stage: str) -> int:
        """Returns how many training crops per case are centered anywhere in the body; tumor2d shares those of fine."""
        return {"correction": self.correction.elsewhere, "fine": self.fine.elsewhere,
                "tumor2d": self.fine.elsewhere}.get(stage, 0)

    def record_settings(self, stage: str) -> dict:
        """Returns the settings that determine a stage's records, as plain JSON values, without training settings."""
        settings = {"version": RECORDS, "spacing_mm": list(self.spacing_mm),
                    "record_shape": list(self.record_shape(stage))}
        if stage in ("fine", "tumor2d"):
            settings |= {name: getattr(self.fine, name) for name in (
                "crop_voxels", "margin_voxels", "overlap_voxels", "extra_slices")}
            settings["kidney_min_voxels"] = self.kidney_min_voxels
        if self.elsewhere(stage):  # records written before this setting existed do not have it: zero
            settings["elsewhere"] = self.elsewhere(stage)
        if stage == "tumor3d":
            settings |= {name: getattr(self.tumor3d, name) for name in ("centres_per_class", "roi_pad_voxels")}
            settings["patch_voxels"] = list(self.tumor3d.patch_voxels)
        return settings

    def plane_spacing_mm(self, stage: str) -> tuple[float, ...]:
        """Returns the voxel size along `plane_axes`, in mm."""
        return tuple(self.spacing_mm["zyx".index(axis)] for axis in plane_axes(stage))

    def slices_of(self, in_plane_voxels: int) -> int:
        """Converts a length in in-plane voxels to a number of slices, rounded up."""
        return int(-(-in_plane_voxels * self.spacing_mm[1] // self.spacing_mm[0]))
