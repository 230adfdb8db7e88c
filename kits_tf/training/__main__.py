"""Trains one stage of the cascade, or all five.

    python train.py --stage=fine                                  the paper's settings, records in data/
    python train.py --stage=all --preset=demo --run_dir=runs/demo
    python train.py --stage=coarse --fold=all --optimizer=sgd --warm_up_steps=500
    python train.py --stage=fine --set=fine.training.augment.noise=0.1   any setting (--help_settings lists them)

To resume an interrupted run, rerun the same command. Results are written to runs/<name>/<stage>/fold<k>/.
"""

import os
import sys
import typing

from absl import flags

from kits_tf import command, device
from kits_tf import config as configs
from kits_tf.config import command_line, reference
from kits_tf.errors import InputError
from kits_tf.heap import keep_freed_memory
from kits_tf.quiet import hushed, say
from kits_tf.records.dataset import FOLDS

FLAGS = flags.FLAGS
flags.DEFINE_enum("stage", None, [*configs.STAGES, "all"], "the stage to train")
flags.DEFINE_string("data_dir", "data", "folder of the records that python -m data_prep wrote")
flags.DEFINE_string("run_dir", None, "folder to write the run to; default: runs/<preset>")
flags.DEFINE_enum("fold", "0", [*map(str, range(FOLDS)), "all"], "the fifth of the cases to validate on instead of "
                  "training on it; all: train five nets per stage")
flags.DEFINE_integer("seed", 0, "seed of initialization, sampling and augmentation", lower_bound=0,
                     upper_bound=2**31 - 2)
flags.DEFINE_bool("deterministic", False, "the same seed gives the same weights, bit for bit; slower on a GPU")
flags.DEFINE_enum("strategy", "auto", ["auto", "one", "mirrored", "multiworker"],
                  "one device, all GPUs of this machine, or the machines in TF_CONFIG; auto: all there are")
flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16", "mixed_float16"],
                  "number format of the nets' computation; weights, logits and losses stay float32")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "compile the training step with XLA; auto: on a single GPU")
flags.DEFINE_bool("describe", False, "print the five nets of the preset and stop")
command_line.define_flags()
flags.DEFINE_integer("base_filters", None, "width of all nets: filters of the first level; tumor3d keeps its "
                     "proportions", lower_bound=1)
flags.DEFINE_string("start_from", None, "trained weights to start from: a weights file of the --stage, a run folder, "
                    "an exported cascade, or the word shipped for the model that ships")
flags.DEFINE_bool("start_from_fine", None, "start tumor2d from the fine net's best weights instead of a random "
                  "initialization; default: as in the preset")
# Every int, float and str field of TrainingConfig is a flag of its own, for all stages at once.
TRAINING = {name: kind for name, kind in typing.get_type_hints(configs.TrainingConfig).items()
            if kind in (int, float, str)}
DEFINE: dict = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
for field, kind in TRAINING.items():
    DEFINE[kind](field, None, reference.describe(configs.TrainingConfig)[field])


def changes_of_flags(config: configs.CascadeConfig) -> dict[str, object]:
    """Returns what the flags change in a preset, as overrides.override takes it.

    Training flags apply to every stage, --start_from_fine to tumor2d only. --base_filters sets `base_filters` of the
    U-Nets; tumor3d gets that width first and keeps its proportions.
    """
    changes = {f"{stage}.training.{name}": FLAGS[name].value for stage in configs.STAGES for name in TRAINING
               if FLAGS[name].value is not None}
    width = FLAGS.base_filters
    if width:
        filters = config.tumor3d.net.filters
        changes |= {f"{stage}.net.base_filters": width for stage in configs.STAGES if stage != "tumor3d"}
        changes["tumor3d.net.filters"] = tuple(max(1, round(width * each / filters[0])) for each in filters)
    if FLAGS.start_from_fine is not None:
        changes["tumor2d.start_from_fine"] = FLAGS.start_from_fine
    return changes


def main() -> int:
    config = command_line.config_from_flags(changes_of_flags)
    # TensorFlow is imported only now, so that --help answers at once.
    with hushed():
        import tensorflow as tf

    from kits_tf.models import describe
    from kits_tf.training import checks, failures, loop, start, workers
    from kits_tf.training.task import Run, make_task

    if FLAGS.describe:
        print(describe.table(config))
        return 0
    if FLAGS.stage is None:
        raise InputError("--stage is missing; expected one of " + ", ".join([*configs.STAGES, "all"]))
    if FLAGS.start_from and FLAGS.start_from_fine:
        raise InputError("--start_from and --start_from_fine exclude each other; give one of them")
    if FLAGS.start_from and FLAGS.stage == "all" and os.path.isfile(FLAGS.start_from):
        raise InputError(f"--start_from={FLAGS.start_from}: is the weights file of one net; give its --stage, or a "
                         f"folder that has <stage>/best.weights.h5 for each")
    gpu = device.has_gpu()
    if not gpu:  # with a GPU, many input threads use the host memory instead
        keep_freed_memory()
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        strategy = workers.strategy(FLAGS.strategy)
        compiled = workers.compiles(FLAGS.xla, strategy)
        folds = range(FOLDS) if FLAGS.fold == "all" else [int(FLAGS.fold)]
        run_dir = FLAGS.run_dir or f"runs/{FLAGS.preset}"
        runs = [Run(make_task(config, stage, FLAGS.data_dir, fold, FLAGS.seed, FLAGS.precision), run_dir)
                for stage in (configs.STAGES if FLAGS.stage == "all" else [FLAGS.stage]) for fold in folds]
        device.announce(FLAGS.precision, compiled, "training", gpu, sys.stdout)
        if FLAGS.start_from:
            runs = [start.starting_from(run, FLAGS.start_from) for run in runs]
        for place, run in enumerate(runs):
            checks.check(run, strategy, [before.task for before in runs[:place]])
        for run in runs:
            loop.train(run, strategy, compiled, report=lambda line: say(line, sys.stdout))
            tf.keras.backend.clear_session()
    except failures.StoppedError as error:
        print(error, file=sys.stderr)
        return 143  # 128 + SIGTERM: the run is incomplete but did not fail
    return 0


def run() -> None:
    """Runs the installed command (entry point in pyproject.toml)."""
    command.run(main, {
        "What to train, and where": ("stage", "fold", "data_dir", "run_dir", "describe"),
        "Settings": (*command_line.FLAGS, "base_filters", "start_from", "start_from_fine"),
        "Settings of every stage": tuple(TRAINING),
        "How to compute": ("seed", "deterministic", "strategy", "precision", "xla")},
        "rerun the command to continue after the last whole epoch")


if __name__ == "__main__":
    run()
