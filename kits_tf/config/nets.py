"""Width and depth of the nets."""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types

MOST_LEVELS = 12  # of a U-Net; input sizes are multiples of 2 ** (levels - 1)


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Width and depth of a 2D U-Net (Ronneberger et al. 2015, who used 64 base filters and five levels)."""

    base_filters: int = 32  # doubled at each lower level, up to max_filters
    levels: int = 5  # number of resolutions; the input size must be divisible by 2 ** (levels - 1)
    max_filters: int = 512
    normalization: str = "batch"  # or "none"

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "base_filters", "levels", "max_filters")
        check(self.levels <= MOST_LEVELS, "levels", self.levels, f"{MOST_LEVELS} or less")
        check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')


@dataclasses.dataclass(frozen=True)
class FCN3DConfig:
    """Width of the 3D FCN with a long skip connection. It pools in-plane first: slices are thicker than pixels."""

    filters: tuple[int, int, int] = (32, 64, 96)  # at full size, half in-plane, quarter in-plane with half z and below
    normalization: str = "batch"

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "filters")
        check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')
