"""How a stage is trained: the loss, the optimizer and its schedule, and how examples are augmented."""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types

SCHEDULES = ("polynomial", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training examples are varied; each range is drawn uniformly, per example. Validation is never augmented.

    Every field at its default changes nothing.
    """

    flip_x: bool = False  # patient's left and right
    flip_y: bool = False  # front and back
    rotate_degrees: float = 0.0  # up to this, either way, in the plane of the slice
    scale: float = 0.0  # zoom by 1 - scale to 1 + scale
    shear: float = 0.0  # up to this, either way, as a fraction
    elastic_voxels: float = 0.0  # displacement of a coarse control grid, in voxels (one standard deviation)
    brightness: float = 0.0  # added to the windowed image (0..1), up to this, either way
    contrast: float = 0.0  # windowed image times 1 - contrast to 1 + contrast, about its mean
    gamma: float = 0.0  # windowed image to the power of exp(-gamma) to exp(gamma)
    blur_voxels: float = 0.0  # standard deviation of Gaussian blur, 0 to this, in voxels of the finer axis
    low_resolution: float = 0.0  # as if scanned with voxels wider in the plane, by up to this part of their width
    noise: float = 0.0  # standard deviation of Gaussian noise, 0 to this

    def __post_init__(self):
        check_types(self)
        check_least(self, 0, *(field.name for field in dataclasses.fields(self)))
        for name in ("scale", "contrast"):  # beyond one they would turn the plane around, and white to black
            check(getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How one stage is trained."""

    epochs: int = 100
    steps_per_epoch: int = 250
    batch_size: int = 16
    learning_rate: float = 1e-3  # the highest of the run; falls to zero at its end
    schedule: str = "polynomial"  # how it falls: "polynomial" (power 0.9, as nnU-Net's) or "cosine"
    warm_up_steps: int = 0  # over which it first rises from zero
    optimizer: str = "adam"  # or "adamw", or "sgd" with Nesterov momentum
    momentum: float = 0.99  # of sgd (nnU-Net's)
    weight_decay: float = 0.0  # of adamw and sgd, times the learning rate and per step; of kernels alone
    clip_norm: float = 0.0  # a step's gradient is shortened to this length (of all weights together); 0: never
    average_decay: float = 0.0  # of the moving average of weights that is scored and kept, as 0.999; 0: no average
    patience: int = 0  # epochs without a better Dice on held-out cases, after which training stops early; 0: never
    dice_weight: float = 1.0  # share of soft Dice over the batch in the loss
    example_dice_weight: float = 0.0  # share of soft Dice per example, over the examples that have foreground
    cross_entropy_weight: float = 0.0  # share of voxelwise cross-entropy in the loss
    # Whether cases are drawn from alike. A giant tumor has ten times the slices of a small one, but is one tumor, and
    # scores are means over cases.
    cases_alike: bool = False
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self):
        check_types(self)
        for name in ("epochs", "steps_per_epoch", "batch_size", "learning_rate"):
            check(getattr(self, name) > 0, name, getattr(self, name), "above zero")
        check_least(self, 0, "weight_decay", "clip_norm", "patience")
        check(0 <= self.warm_up_steps < self.epochs * self.steps_per_epoch, "warm_up_steps", self.warm_up_steps,
               f"zero or more and below the run's {self.epochs * self.steps_per_epoch} steps")
        for name in ("momentum", "average_decay"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        check(self.schedule in SCHEDULES, "schedule", self.schedule, "one of " + ", ".join(SCHEDULES))
        check(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, "one of " + ", ".join(OPTIMIZERS))
        check(not self.weight_decay or self.optimizer != "adam", "weight_decay", self.weight_decay,
               "zero for the optimizer adam; adamw and sgd have it")
        weights = (self.dice_weight, self.example_dice_weight, self.cross_entropy_weight)
        check(min(weights) >= 0 and sum(weights) > 0, "dice_weight, example_dice_weight and cross_entropy_weight",
               weights, "zero or more, and not all zero")
