"""Width and depth of the nets."""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types

MOST_LEVELS = 12  # of a U-Net; input sizes are multiples of 2 ** (levels - 1)


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Width and depth of a 2D U-Net (Ronneberger et al. 2015, who used 64 base filters and five levels)."""

    base_filters: int = 32  # filters of the first level; doubled at each lower level, up to max_filters
    levels: int = 5  # number of resolutions; the input size must be divisible by 2 ** (levels - 1)
    max_filters: int = 512  # most filters of a convolution
    normalization: str = "batch"  # "batch" or "none"

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "base_filters", "levels", "max_filters")
        check(self.levels <= MOST_LEVELS, "levels", self.levels, f"{MOST_LEVELS} or less")
        check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')

    def check_size(self, name: str, size: int | tuple[int, ...]) -> None:
        """Checks that an input size, such as the field `name` of a stage, can be halved on every level."""
        multiple = 2 ** (self.levels - 1)
        check(all(voxels % multiple == 0 for voxels in (size if isinstance(size, tuple) else (size,))), name, size,
              f"a multiple of {multiple} for a net of {self.levels} levels")


@dataclasses.dataclass(frozen=True)
class FCN3DConfig:
    """Width of the 3D FCN with a long skip connection. It pools in-plane first: slices are thicker than pixels."""

    # filters of the convolutions at full size; at half size in-plane; and at a quarter in-plane with half z, and below
    filters: tuple[int, int, int] = (32, 64, 96)
    normalization: str = "batch"  # "batch" or "none"

    def __post_init__(self):
        check_types(self)
        check_least(self, 1, "filters")
        check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')
