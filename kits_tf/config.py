"""Settings: one frozen dataclass per stage, and one for the cascade that holds them all.

`PRESETS["paper"]` is the method of Zhang et al. (KiTS19 entry) with our decisions where it is silent. Two are for two
CPU cores: `PRESETS["small"]` is the same with narrower nets and fewer examples, `PRESETS["demo"]` lies on a grid half
as fine. A preset is saved as JSON beside the weights it trained and inside the model it was exported to, so that
prediction cannot disagree with training.

"Normalized" means: at `CascadeConfig.spacing_mm`. All sizes are in normalized voxels unless a name says otherwise.
"""

import dataclasses
import json
import typing

from kits_tf.volume import BODY_HU

STAGES = ("coarse", "correction", "fine", "tumor3d", "tumor2d")
SCHEDULES = ("polynomial", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd")
RECORDS = 2  # version of what records hold: to be raised when the same case and settings would give other examples
LESION_LOSS: dict = {"dice_weight": 0.25, "example_dice_weight": 0.25, "cross_entropy_weight": 0.5}

LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 3e38  # what TensorFlow's int32 and float32 hold
MOST_LEVELS = 12  # of a U-Net; inputs are multiples of 2 ** (levels - 1)


def _check(condition, name, value, rule):
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def _check_types(config):
    """Refuses a value that is not of its field's type, such as a list read from JSON that is too long."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        _check(_is(value, kind), name, value, kind.__name__ if isinstance(kind, type) else kind)


def _is(value, kind):
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and -LARGEST_FLOAT < value < LARGEST_FLOAT  # and no NaN
    return isinstance(value, kind) and not (kind is int and abs(value) > LARGEST_INT)


def _check_least(config, least, *names):
    """Refuses fields, numbers or tuples of them, that are not at least `least` (or not a number)."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        _check(all(number >= least for number in numbers), name, value, f"{least} or more")


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
        _check_types(self)
        _check_least(self, 0, *(field.name for field in dataclasses.fields(self)))
        for name in ("scale", "contrast"):  # beyond one they would turn the plane around, and white to black
            _check(getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")


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
        _check_types(self)
        for name in ("epochs", "steps_per_epoch", "batch_size", "learning_rate"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "above zero")
        _check_least(self, 0, "weight_decay", "clip_norm", "patience")
        _check(0 <= self.warm_up_steps < self.epochs * self.steps_per_epoch, "warm_up_steps", self.warm_up_steps,
               f"zero or more and below the run's {self.epochs * self.steps_per_epoch} steps")
        for name in ("momentum", "average_decay"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        _check(self.schedule in SCHEDULES, "schedule", self.schedule, "one of " + ", ".join(SCHEDULES))
        _check(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, "one of " + ", ".join(OPTIMIZERS))
        _check(not self.weight_decay or self.optimizer != "adam", "weight_decay", self.weight_decay,
               "zero for the optimizer adam; adamw and sgd have it")
        weights = (self.dice_weight, self.example_dice_weight, self.cross_entropy_weight)
        _check(min(weights) >= 0 and sum(weights) > 0, "dice_weight, example_dice_weight and cross_entropy_weight",
               weights, "zero or more, and not all zero")


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Width and depth of a 2D U-Net (Ronneberger et al. 2015; theirs had 64 base filters and five levels)."""

    base_filters: int = 32  # doubled at each level down, at most max_filters
    levels: int = 5  # resolutions, the full one included; the input must divide by 2 ** (levels - 1)
    max_filters: int = 512
    normalization: str = "batch"  # or "none"

    def __post_init__(self):
        _check_types(self)
        _check_least(self, 1, "base_filters", "levels", "max_filters")
        _check(self.levels <= MOST_LEVELS, "levels", self.levels, f"{MOST_LEVELS} or less")
        _check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')


@dataclasses.dataclass(frozen=True)
class FCN3DConfig:
    """Width of the 3D FCN with a long skip connection; pools in-plane first, since voxels are thicker than wide."""

    filters: tuple[int, int, int] = (32, 64, 96)  # at full, half in-plane, quarter in-plane and half z, and below
    normalization: str = "batch"

    def __post_init__(self):
        _check_types(self)
        _check_least(self, 1, "filters")
        _check(self.normalization in ("batch", "none"), "normalization", self.normalization, '"batch" or "none"')


@dataclasses.dataclass(frozen=True)
class CoarseConfig:
    """Whole axial slices, made square with air, resized to `size_voxels` squared: where are the kidneys, roughly?"""

    size_voxels: int = 128  # pixels of the coarse grid, in y and x
    predict_batch: int = 16
    net: UNetConfig = UNetConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        _check_types(self)
        _check_least(self, 1, "size_voxels", "predict_batch")
        _check(self.size_voxels % 2 ** (self.net.levels - 1) == 0, "size_voxels", self.size_voxels,
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
        _check_types(self)
        _check_least(self, 1, "crop_voxels", "predict_batch")
        _check_least(self, 0, "jitter_voxels")
        for size, overlap in zip(self.crop_voxels, self.overlap_voxels, strict=True):
            _check(size % 2 ** (self.net.levels - 1) == 0, "crop_voxels", self.crop_voxels,
                   f"multiples of {2 ** (self.net.levels - 1)} for a net of {self.net.levels} levels")
            _check(0 <= overlap < size, "overlap_voxels", self.overlap_voxels, "zero or more and smaller than the crop")


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
        _check_types(self)
        _check_least(self, 1, "crop_voxels", "predict_batch")
        _check_least(self, 0, "margin_voxels", "extra_slices", "jitter_voxels")
        _check(self.crop_voxels % 2 ** (self.net.levels - 1) == 0, "crop_voxels", self.crop_voxels,
               f"a multiple of {2 ** (self.net.levels - 1)} for a net of {self.net.levels} levels")
        _check(0 <= self.overlap_voxels < self.crop_voxels, "overlap_voxels", self.overlap_voxels,
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
        _check_types(self)
        _check(0 <= self.kidney_weight < 1, "kidney_weight", self.kidney_weight, "from 0 to below 1")
        _check_least(self, 1, "patch_voxels", "tile_voxels")
        _check_least(self, 0, "jitter_voxels", "centres_per_class", "roi_pad_voxels")
        for name in ("patch_voxels", "tile_voxels"):
            size = getattr(self, name)
            _check(size[0] % 2 == 0 and size[1] % 4 == 0 and size[2] % 4 == 0, name, size, "multiples of (2, 4, 4)")
        _check(0 <= self.tile_overlap < 1, "tile_overlap", self.tile_overlap, "from 0 to below 1")


@dataclasses.dataclass(frozen=True)
class Tumor2dConfig:
    """The fine stage's crops with the kidney mask as a second channel: the tumor's outline."""

    predict_batch: int = 16
    # From the fine stage's best weights of the same fold in place of fresh ones: it has seen the same crops, and knows
    # what is kidney. The two nets must be alike.
    start_from_fine: bool = False
    net: UNetConfig = UNetConfig()
    # Dice over the batch leaves small tumors out, Dice over all slices is drowned by those without tumor (losses.py).
    training: TrainingConfig = TrainingConfig(**LESION_LOSS)

    def __post_init__(self):
        _check_types(self)
        _check_least(self, 1, "predict_batch")


def plane_axes(stage: str) -> str:
    """The axes of a stage's planes, which augmentation rotates and mirrors: "yx" (axial), for correction "zy"."""
    return "zy" if stage == "correction" else "yx"


@dataclasses.dataclass(frozen=True)
class CascadeConfig:
    """The five stages and the rules that chain them."""

    preset: str = "paper"
    spacing_mm: tuple[float, float, float] = (3.0, 0.7816, 0.7816)  # normalized voxels, z, y, x
    window_hu: tuple[float, float] = (-79.0, 304.0)  # scaled to 0..1; the KiTS19 convention
    kidney_min_voxels: int = 10000  # a smaller component of the coarse mask is no kidney (18 ml)
    normal_kidneys: int = 2  # any other count is abnormal and goes to the correction net
    body_hu: float = BODY_HU  # above it is body: where to look when the coarse mask is empty
    tumor_min_voxels: int = 50  # fewer detected by tumor3d count as nothing (0.1 ml)
    refine_margin_voxels: int = 10  # in-plane, around what was detected: where tumor2d may act; along z the same in mm
    lesion_threshold: float = 0.5  # of tumor3d's probability; its patches hold more tumor than patients do
    tumor_fusion: str = "union"  # inside the detected region: "union" of tumor3d and tumor2d, or "tumor2d" alone
    coarse: CoarseConfig = CoarseConfig()
    correction: CorrectionConfig = CorrectionConfig()
    fine: FineConfig = FineConfig()
    tumor3d: Tumor3dConfig = Tumor3dConfig()
    tumor2d: Tumor2dConfig = Tumor2dConfig()

    def __post_init__(self):
        _check_types(self)
        _check(all(0 < mm < float("inf") for mm in self.spacing_mm), "spacing_mm", self.spacing_mm,
               "three positive numbers")
        _check_least(self, 0, "kidney_min_voxels", "normal_kidneys", "tumor_min_voxels", "refine_margin_voxels")
        low, high = self.window_hu
        _check(low < high, "window_hu", self.window_hu, "rising")
        _check(0 < self.lesion_threshold < 1, "lesion_threshold", self.lesion_threshold, "between 0 and 1")
        _check(self.tumor_fusion in ("union", "tumor2d"), "tumor_fusion", self.tumor_fusion, '"union" or "tumor2d"')

    def stage(self, name: str) -> typing.Any:
        """The settings of one stage. Raises ValueError for a name that is none of STAGES."""
        _check(name in STAGES, "stage", name, "one of " + ", ".join(STAGES))
        return getattr(self, name)

    def input_shape(self, stage: str) -> tuple[int, ...]:
        """What one stage's net sees, without channels: (y, x), for correction (z, y), for tumor3d (z, y, x)."""
        return {
            "coarse": (self.coarse.size_voxels,) * 2,
            "correction": self.correction.crop_voxels,
            "fine": (self.fine.crop_voxels,) * 2,
            "tumor3d": self.tumor3d.patch_voxels,
            "tumor2d": (self.fine.crop_voxels,) * 2,
        }[stage]

    def outputs(self, stage: str) -> int:
        """How many masks one stage's net learns: its own, and for tumor3d the kidney if it has a `kidney_weight`."""
        return 2 if stage == "tumor3d" and self.tumor3d.kidney_weight else 1

    def jitter(self, stage: str) -> tuple[int, ...]:
        """How far a training crop may move from the centre of its record, per axis of `input_shape`."""
        return {
            "coarse": (0, 0),
            "correction": self.correction.jitter_voxels,
            "fine": (self.fine.jitter_voxels,) * 2,
            "tumor3d": self.tumor3d.jitter_voxels,
            "tumor2d": (self.fine.jitter_voxels,) * 2,
        }[stage]

    def record_shape(self, stage: str) -> tuple[int, ...]:
        """The shape of one stored training example: the input with room to jitter on every side."""
        return tuple(size + 2 * room for size, room in zip(self.input_shape(stage), self.jitter(stage), strict=True))

    def record_settings(self, stage: str) -> dict:
        """The settings that decide what a stage's records hold, as plain JSON values; training settings do not."""
        settings = {"version": RECORDS, "spacing_mm": list(self.spacing_mm),
                    "record_shape": list(self.record_shape(stage))}
        if stage in ("fine", "tumor2d"):
            settings |= {name: getattr(self.fine, name) for name in (
                "crop_voxels", "margin_voxels", "overlap_voxels", "extra_slices")}
            settings["kidney_min_voxels"] = self.kidney_min_voxels
        if stage == "tumor3d":
            settings |= {name: getattr(self.tumor3d, name) for name in ("centres_per_class", "roi_pad_voxels")}
            settings["patch_voxels"] = list(self.tumor3d.patch_voxels)
        return settings

    def plane_spacing_mm(self, stage: str) -> tuple[float, ...]:
        """Voxel size along `plane_axes`, in mm."""
        return tuple(self.spacing_mm["zyx".index(axis)] for axis in plane_axes(stage))

    def slices_of(self, in_plane_voxels: int) -> int:
        """The length of some in-plane voxels as a number of slices, at least as long."""
        return int(-(-in_plane_voxels * self.spacing_mm[1] // self.spacing_mm[0]))


def to_json(config: typing.Any) -> str:
    """A config dataclass as JSON text; `from_json` is the inverse."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes, cls: type = CascadeConfig) -> typing.Any:
    """The config that `to_json` wrote.

    Raises:
        ValueError: if the text is no JSON, names a field that the class lacks or one twice, or a value breaks a rule.
    """
    try:
        fields = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError(f"{cls.__name__} must be a JSON object, got one nested too deeply") from error
    return _build(cls, fields, cls.__name__)


def _each_once(pairs):
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    _check(not twice, "a JSON object's fields", ", ".join(twice), "named once each")
    return dict(pairs)


def _build(cls, fields, path):
    _check(isinstance(fields, dict), path, fields, "a JSON object")
    known = typing.get_type_hints(cls)
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{path} has no field {unknown[0]}; it has {', '.join(known)}")
    values = {}
    for name, value in fields.items():
        if dataclasses.is_dataclass(known[name]):
            value = _build(known[name], value, f"{path}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return cls(**values)


def _paper():
    shape = AugmentConfig(rotate_degrees=15.0, scale=0.15, shear=0.1, elastic_voxels=2.0, brightness=0.1, contrast=0.15,
                          gamma=0.3, blur_voxels=0.5, low_resolution=0.3, noise=0.05)
    mirrored = dataclasses.replace(shape, flip_x=True)  # left and right kidneys are one population

    def training(augment, **changes):
        return TrainingConfig(augment=augment, **changes)

    return CascadeConfig(
        coarse=CoarseConfig(training=training(shape)),
        correction=CorrectionConfig(training=training(shape)),
        fine=FineConfig(training=training(mirrored)),
        tumor3d=Tumor3dConfig(training=training(mirrored, batch_size=4, dice_weight=0.0, cross_entropy_weight=1.0)),
        tumor2d=Tumor2dConfig(training=training(mirrored, **LESION_LOSS)),
    )


def _demo():
    """The paper's cascade on voxels twice as wide (all sizes in mm stay), with nets a tenth as heavy."""
    unet = UNetConfig(base_filters=8, levels=4)  # multiples of 8: a CPU takes 12 filters half as fast again as 16
    gentle = AugmentConfig(rotate_degrees=10.0, scale=0.1, brightness=0.05, contrast=0.1, noise=0.03)
    mirrored = dataclasses.replace(gentle, flip_x=True)
    # Tumor and medulla differ by little but their Hounsfield units, which a scanner calibrates: those stay as they are.
    calibrated = dataclasses.replace(mirrored, brightness=0.0, contrast=0.0)

    def training(augment, epochs, **changes):
        return TrainingConfig(epochs=epochs, steps_per_epoch=50, learning_rate=3e-3, augment=augment, **changes)

    return CascadeConfig(
        preset="demo",
        spacing_mm=(4.0, 1.5632, 1.5632),
        kidney_min_voxels=1875,  # the same 18 ml
        tumor_min_voxels=10,
        refine_margin_voxels=5,
        coarse=CoarseConfig(size_voxels=64, net=unet, training=training(gentle, 10)),
        correction=CorrectionConfig(crop_voxels=(48, 128), overlap_voxels=(12, 32), jitter_voxels=(4, 8), net=unet,
                                    training=training(gentle, 5)),
        fine=FineConfig(crop_voxels=80, margin_voxels=6, overlap_voxels=32, jitter_voxels=8, net=unet,
                        training=training(mirrored, 12)),
        # On cross-entropy alone tumor3d needs more steps than a demo has before it finds a single tumor.
        tumor3d=Tumor3dConfig(patch_voxels=(24, 48, 48), jitter_voxels=(3, 8, 8), roi_pad_voxels=15,
                              tile_voxels=(24, 64, 64), kidney_weight=0.5, net=FCN3DConfig(filters=(8, 16, 32)),
                              training=training(calibrated, 14, batch_size=6, **LESION_LOSS)),
        tumor2d=Tumor2dConfig(net=UNetConfig(base_filters=16, levels=4),
                              training=training(calibrated, 14, **LESION_LOSS)),
    )


def _small():
    """The paper's cascade, its grid and all its sizes, with nets a quarter to a third as wide and a twelfth of the
    examples or fewer: for two CPU cores, all five stages in less than 100 minutes (benchmarks/accuracy)."""
    paper, narrow = _paper(), UNetConfig(base_filters=8)
    gentle = AugmentConfig(rotate_degrees=12.0, scale=0.12, brightness=0.03, contrast=0.08, noise=0.03)
    mirrored = dataclasses.replace(gentle, flip_x=True)
    calibrated = dataclasses.replace(mirrored, brightness=0.0, contrast=0.0)  # as the demo's
    # Few tumors, of any brightness beside their kidney: their outline must not be learned by heart.
    varied = AugmentConfig(flip_x=True, rotate_degrees=15.0, scale=0.15, shear=0.1, brightness=0.1, contrast=0.15,
                           gamma=0.3, noise=0.05)
    # Giants are fewer yet, and it is they that call correction: what is ordinary, drawn larger, stands in for them.
    stretched = dataclasses.replace(varied, flip_x=False, rotate_degrees=20.0, scale=0.35, shear=0.15)
    kidneys = {"dice_weight": 0.5, "cross_entropy_weight": 0.5}

    def smaller(stage, net, augment, epochs, batch_size=8, **changes):
        training = TrainingConfig(epochs=epochs, batch_size=batch_size, learning_rate=3e-3, warm_up_steps=100,
                                  augment=augment, **changes)
        return dataclasses.replace(paper.stage(stage), net=net, training=training)

    return dataclasses.replace(
        paper, preset="small",
        coarse=smaller("coarse", narrow, gentle, 8, **kidneys),
        correction=smaller("correction", narrow, stretched, 10, **kidneys),
        fine=smaller("fine", narrow, mirrored, 12, **kidneys),
        # Each batch holds one patch of either class.
        tumor3d=dataclasses.replace(
            smaller("tumor3d", FCN3DConfig(filters=(8, 16, 32)), calibrated, 11, batch_size=3, **LESION_LOSS),
            kidney_weight=0.5),
        tumor2d=dataclasses.replace(
            smaller("tumor2d", narrow, varied, 12, cases_alike=True, **LESION_LOSS), start_from_fine=True),
    )


PRESETS = {"paper": _paper(), "demo": _demo(), "small": _small()}
