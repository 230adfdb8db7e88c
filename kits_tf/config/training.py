"""Training settings of a stage: loss, optimizer, learning rate schedule and augmentation."""

import dataclasses

from kits_tf.config.checks import check, check_least, check_types

SCHEDULES = ("polynomial", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training examples. Values are drawn uniformly from each range, once per example.

    The defaults change nothing. The validation set is never augmented.
    """

    flip_x: bool = False  # mirror left and right of the patient in half of the examples
    flip_y: bool = False  # mirror front and back in half of the examples
    rotate_degrees: float = 0.0  # largest rotation, in either direction, in the plane of the slice
    scale: float = 0.0  # zoom by a factor of 1 - scale to 1 + scale
    shear: float = 0.0  # largest shear, in either direction, as a fraction
    elastic_voxels: float = 0.0  # standard deviation of the displacement of a coarse control grid, in voxels
    brightness: float = 0.0  # largest value added to or subtracted from the windowed image (0..1)
    contrast: float = 0.0  # contrast factor 1 - contrast to 1 + contrast about the windowed image's mean
    gamma: float = 0.0  # gamma, exp(-gamma) to exp(gamma) of the windowed image
    blur_voxels: float = 0.0  # largest standard deviation of Gaussian blur, in voxels of the finer axis
    low_resolution: float = 0.0  # simulates in-plane voxels wider by up to this fraction
    noise: float = 0.0  # largest standard deviation of Gaussian noise

    def __post_init__(self):
        check_types(self)
        check_least(self, 0, *(field.name for field in dataclasses.fields(self)))
        for name in ("scale", "contrast"):  # from 1 on they would invert the plane or the gray values
            check(getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Training of one stage. Raises ValueError for an invalid value."""

    epochs: int = 100  # number of epochs; the validation set is scored after each
    steps_per_epoch: int = 250  # training steps (batches) per epoch
    batch_size: int = 16  # examples per step, over all GPUs together
    learning_rate: float = 1e-3  # highest learning rate of the run; decays to zero at its end
    schedule: str = "polynomial"  # learning rate decay: "polynomial" (power 0.9, as in nnU-Net) or "cosine"
    warm_up_steps: int = 0  # steps of linear learning rate warm-up from zero
    optimizer: str = "adam"  # "adam", "adamw", or "sgd" with Nesterov momentum
    momentum: float = 0.99  # momentum of sgd; nnU-Net's value
    weight_decay: float = 0.0  # weight decay of adamw and sgd, per step, times the learning rate; kernels only
    clip_norm: float = 0.0  # largest global norm of the gradient; 0: no clipping
    average_decay: float = 0.0  # decay of the moving average of weights that is scored and saved, e.g. 0.999; 0: off
    patience: int = 0  # epochs without a better validation Dice before training stops early; 0: off
    dice_weight: float = 1.0  # weight in the loss of soft Dice over the batch
    example_dice_weight: float = 0.0  # weight in the loss of soft Dice per example with foreground
    cross_entropy_weight: float = 0.0  # weight in the loss of voxelwise cross-entropy
    # whether every case contributes the same number of examples. A giant tumor has ten times as many slices as a small
    # one but is one tumor, and scores are means over cases
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
