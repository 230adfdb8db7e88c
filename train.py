"""Trains the nets of the cascade, one stage or all.

    python train.py --stage=fine                                  the paper's settings, records in data/
    python train.py --stage=all --preset=demo --run_dir=runs/demo

The same command again goes on where the last one stopped. A run leaves runs/<name>/<stage>/fold<k>/ behind.
"""

import dataclasses
import sys

from absl import app, flags

from kits_tf import config as configs
from kits_tf.quiet import quiet_tensorflow
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_enum("stage", None, [*configs.STAGES, "all"], "What to train.")
flags.DEFINE_string("data_dir", "data", "Folder that python -m data_prep wrote.")
flags.DEFINE_string("run_dir", None, "Folder to train in; runs/<preset> unless given.")
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "Settings of the whole cascade.")
flags.DEFINE_integer("fold", 0, "Which fifth of the cases is held out.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Of fresh weights, of the examples drawn and of how they are varied.", lower_bound=0,
                     upper_bound=2**31 - 2)
flags.DEFINE_bool("deterministic", False, "Same seed, same weights, bit for bit; slower on a GPU.")
flags.DEFINE_integer("epochs", None, "In place of the preset's.", lower_bound=1)
flags.DEFINE_integer("steps_per_epoch", None, "In place of the preset's.", lower_bound=1)
flags.DEFINE_integer("batch_size", None, "In place of the preset's.", lower_bound=1)
flags.DEFINE_integer("base_filters", None, "Width of the nets in place of the preset's (tumor3d: 1, 2 and 3 times it).",
                     lower_bound=1)
flags.DEFINE_bool("describe", False, "Print the five nets of the preset and stop.")


def overridden(config):
    """The preset with the flags that were given in place of its fields, in every stage alike."""
    changes = {name: FLAGS[name].value for name in ("epochs", "steps_per_epoch", "batch_size")
               if FLAGS[name].value is not None}
    for stage in configs.STAGES:
        settings = config.stage(stage)
        settings = dataclasses.replace(settings, training=dataclasses.replace(settings.training, **changes))
        width = FLAGS.base_filters
        if width and stage == "tumor3d":
            settings = dataclasses.replace(settings, net=dataclasses.replace(
                settings.net, filters=(width, 2 * width, 3 * width)))
        elif width:
            settings = dataclasses.replace(settings, net=dataclasses.replace(settings.net, base_filters=width))
        config = dataclasses.replace(config, **{stage: settings})
    return config


def main(_):
    config = overridden(configs.PRESETS[FLAGS.preset])
    # TensorFlow is imported only now, so that --help answers at once.
    quiet_tensorflow()
    import tensorflow as tf

    from kits_tf.models import describe
    from kits_tf.training import loop, stages

    if FLAGS.describe:
        print(describe.table(config))
        return
    if FLAGS.stage is None:
        raise app.UsageError("--stage must say what to train: " + ", ".join([*configs.STAGES, "all"]))
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        wanted = configs.STAGES if FLAGS.stage == "all" else [FLAGS.stage]
        tasks = [stages.task(config, stage, FLAGS.data_dir, FLAGS.fold, FLAGS.seed) for stage in wanted]
        for task in tasks:
            loop.train(task, FLAGS.run_dir or f"runs/{FLAGS.preset}", report=lambda line: print(line, flush=True))
            tf.keras.backend.clear_session()
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; the same command goes on after the last whole epoch", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    app.run(main)
