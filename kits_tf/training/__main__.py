"""Trains one stage of the cascade, or all five.

    python train.py --stage=fine                                  the paper's settings, records in data/
    python train.py --stage=all --preset=demo --run_dir=runs/demo
    python train.py --stage=coarse --fold=all --optimizer=sgd --warm_up_steps=500

To resume an interrupted run, rerun the same command. Results are written to runs/<name>/<stage>/fold<k>/.
"""

import dataclasses
import sys

from absl import flags

from kits_tf import command
from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.heap import keep_freed_memory
from kits_tf.quiet import hushed, say
from kits_tf.records.dataset import FOLDS

FLAGS = flags.FLAGS
flags.DEFINE_enum("stage", None, [*configs.STAGES, "all"], "What to train.")
flags.DEFINE_string("data_dir", "data", "Folder that python -m data_prep wrote.")
flags.DEFINE_string("run_dir", None, "Folder to train in; runs/<preset> unless given.")
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "Settings of the whole cascade.")
flags.DEFINE_enum("fold", "0", [*map(str, range(FOLDS)), "all"], "Which fifth of the cases is held out.")
flags.DEFINE_integer("seed", 0, "Of fresh weights, of the examples drawn and of how they are varied.", lower_bound=0,
                     upper_bound=2**31 - 2)
flags.DEFINE_bool("deterministic", False, "Same seed, same weights, bit for bit; slower on a GPU.")
flags.DEFINE_enum("strategy", "auto", ["auto", "one", "mirrored", "multiworker"],
                  "One device, all GPUs here, or the machines in TF_CONFIG; auto: as many as there are.")
flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16", "mixed_float16"],
                  "What the nets compute in; weights, logits and losses stay float32.")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "Compile the training step; auto: on a single GPU.")
flags.DEFINE_integer("base_filters", None, "Width of the nets in place of the preset's; tumor3d keeps "
                     "the preset's proportions.", lower_bound=1)
flags.DEFINE_bool("start_from_fine", None, "Whether tumor2d starts from the fine net's best weights in place of fresh "
                  "ones; as the preset has it unless given.")
flags.DEFINE_bool("describe", False, "Print the five nets of the preset and stop.")
# Every int, float and str field of TrainingConfig is also a flag. TrainingConfig documents them.
TRAINING = {field.name: field.type for field in dataclasses.fields(configs.TrainingConfig)
            if field.type in (int, float, str)}
DEFINE: dict = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
for field, kind in TRAINING.items():
    DEFINE[kind](field, None, "")
# Every field of AugmentConfig is also a flag, named augment_<field>.
AUGMENT = {f"augment_{field.name}": field.name for field in dataclasses.fields(configs.AugmentConfig)}
for flag, field in AUGMENT.items():
    (flags.DEFINE_bool if field.startswith("flip") else flags.DEFINE_float)(flag, None, "")


def overridden(config: configs.CascadeConfig) -> configs.CascadeConfig:
    """Returns a copy of a preset in which the given flags replace its fields.

    Training and augmentation flags apply to every stage, --start_from_fine to tumor2d only. --base_filters sets
    `base_filters` of the U-Nets; tumor3d gets that width first and keeps its proportions.

    Raises:
        ValueError: if a value is invalid; the message names the field and the rule.
    """
    changes = {name: FLAGS[name].value for name in TRAINING if FLAGS[name].value is not None}
    varied = {field: FLAGS[flag].value for flag, field in AUGMENT.items() if FLAGS[flag].value is not None}
    for stage in configs.STAGES:
        settings = config.stage(stage)
        augment = dataclasses.replace(settings.training.augment, **varied)
        settings = dataclasses.replace(settings, training=dataclasses.replace(
            settings.training, **changes, augment=augment))
        width = FLAGS.base_filters
        if width and stage == "tumor3d":
            first, *_ = settings.net.filters
            filters = tuple(max(1, round(width * each / first)) for each in settings.net.filters)
            settings = dataclasses.replace(settings, net=dataclasses.replace(settings.net, filters=filters))
        elif width:
            settings = dataclasses.replace(settings, net=dataclasses.replace(settings.net, base_filters=width))
        config = dataclasses.replace(config, **{stage: settings})
    if FLAGS.start_from_fine is not None:
        tumor2d = dataclasses.replace(config.tumor2d, start_from_fine=FLAGS.start_from_fine)
        config = dataclasses.replace(config, tumor2d=tumor2d)
    return config


def main() -> int:
    try:
        config = overridden(configs.PRESETS[FLAGS.preset])
    except ValueError as error:
        raise InputError(f"train.py: {error}") from error
    # TensorFlow is imported only now, so that --help answers at once.
    with hushed():
        import tensorflow as tf

    from kits_tf.models import describe
    from kits_tf.training import loop, workers
    from kits_tf.training.task import make_task

    if FLAGS.describe:
        print(describe.table(config))
        return 0
    if FLAGS.stage is None:
        raise InputError("--stage must say what to train: " + ", ".join([*configs.STAGES, "all"]))
    if not tf.config.list_physical_devices("GPU"):  # with a GPU, many input threads use the host memory instead
        keep_freed_memory()
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        strategy = workers.strategy(FLAGS.strategy)
        compiled = workers.compiles(FLAGS.xla, strategy)
        folds = range(FOLDS) if FLAGS.fold == "all" else [int(FLAGS.fold)]
        tasks = [make_task(config, stage, FLAGS.data_dir, fold, FLAGS.seed, FLAGS.precision)
                 for stage in (configs.STAGES if FLAGS.stage == "all" else [FLAGS.stage]) for fold in folds]
        run_dir = FLAGS.run_dir or f"runs/{FLAGS.preset}"
        for place, task in enumerate(tasks):
            loop.check(task, run_dir, strategy, tasks[:place])
        for task in tasks:
            loop.train(task, run_dir, strategy, compiled,
                       report=lambda line: say(line, sys.stdout))
            tf.keras.backend.clear_session()
    except OSError as error:
        raise InputError(str(error)) from error
    except loop.StoppedError as error:
        print(error, file=sys.stderr)
        return 143  # 128 + SIGTERM: the run is incomplete but did not fail
    return 0


def run() -> None:
    """Runs the installed command (entry point in pyproject.toml)."""
    command.run(main, {
        "What is trained, and where": ("stage", "fold", "data_dir", "run_dir", "preset", "describe"),
        "How": ("seed", "deterministic", "strategy", "precision", "xla", "base_filters", "start_from_fine"),
        "In place of the preset's, in every stage alike (kits_tf/config/training.py says what they are)": (
            *TRAINING, *AUGMENT)},
        "the same command goes on after the last whole epoch")


if __name__ == "__main__":
    run()
