"""Exports a trained run as one SavedModel that holds the whole cascade.

python -m kits_tf.cascade --run_dir=runs/demo --output=runs/demo/export
python -m kits_tf.cascade --run_dir=runs/kits --folds=0,1,2,3,4 --tta=flips
python -m kits_tf.cascade --run_dir=runs/kits --precision=bfloat16 --compare=kits19/test

With --precision=bfloat16, also prints how the labels differ from those of float32, on synthetic phantoms or on the
study given by --compare.
"""

import pathlib

from absl import flags

from kits_tf import command
from kits_tf.config import overrides
from kits_tf.errors import InputError
from kits_tf.quiet import hushed, say, warn

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "run folder that train.py wrote, with all five stages trained")
flags.DEFINE_string("output", None, "folder to export to, as a new version; default: <run_dir>/export")
flags.DEFINE_list("folds", ["0"], "folds whose nets to export; several, such as 0,1,2,3,4, are averaged")
flags.DEFINE_enum("weights", "best", ["best", "last"], "weights of the epoch with the best validation Dice, or of the "
                  "last epoch")
flags.DEFINE_enum("tta", "none", ["none", "flips"], "flips: average each net over mirror images, along the axes that "
                  "were mirrored in its training; doubles the time of these nets")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "number format of the nets; the rest is float32")
flags.DEFINE_enum("tumor_fusion", None, ["union", "tumor2d"], "tumor where tumor3d detected a lesion: that of both "
                  "nets, or of tumor2d alone; default: as in the preset")
flags.DEFINE_float("lesion_threshold", None, "probability above which tumor3d detects a lesion, 0 to 1; raise it if "
                   "other tissue is taken for tumor. Default: as in the preset (0.5)")
flags.DEFINE_string("compare", None, "study to compare bfloat16 with float32 on; default: synthetic phantoms")
flags.mark_flags_as_required(["run_dir"])


def fold_numbers(names: list[str]) -> list[int]:
    """Parses --folds. Raises InputError unless it is a list of different numbers."""
    folds = [int(name) for name in names if name.strip().isdecimal()]
    if not folds or len(folds) != len(names) or len(set(folds)) != len(folds):
        raise InputError(f"--folds={','.join(names)}: expected different numbers, such as 0,1,2")
    return folds


def main() -> int:
    folds = fold_numbers(FLAGS.folds)
    if FLAGS.compare and FLAGS.precision == "float32":
        raise InputError("--compare needs --precision=bfloat16, which it compares with float32")
    if FLAGS.lesion_threshold is not None and not 0 < FLAGS.lesion_threshold < 1:
        raise InputError(f"--lesion_threshold={FLAGS.lesion_threshold}: expected a number between 0 and 1")
    with hushed():  # imported late: TensorFlow takes seconds to import, and --help does not need it
        from kits_tf.cascade import compare
        from kits_tf.cascade.collect import collect, describe, trained_nets
        from kits_tf.cascade.export import build_cascade, save_cascade
        from kits_tf.models import unfold
        from kits_tf.phantoms import sample

    run_dir, precision, flips = FLAGS.run_dir, FLAGS.precision, FLAGS.tta == "flips"
    output = FLAGS.output or pathlib.Path(run_dir) / "export"
    cases = compare.study_cases(FLAGS.compare) if FLAGS.compare else sample.drawn_cases()
    say(f"{run_dir}: reading the five nets of fold {', '.join(map(str, folds))}")
    nets, config = collect(run_dir, folds, FLAGS.weights, precision)
    given = {name: FLAGS[name].value for name in ("tumor_fusion", "lesion_threshold") if FLAGS[name].value is not None}
    config = overrides.override(config, given)
    trained, warnings = describe(run_dir, folds)
    for warning in warnings:
        warn(warning)
    origin = {"folds": folds, "weights": FLAGS.weights, "precision": precision, "trained": trained}
    say("building the cascade's graph, which takes most of the time")
    cascade = build_cascade(nets, config, flips, origin)
    if precision != "float32":
        say("building it in float32 too, for the comparison")
        float32 = build_cascade(collect(run_dir, folds, FLAGS.weights)[0], config, flips)
        print(compare.table(compare.compare(float32, cascade, cases), "float32", precision))
    say(f"{output}: saving the next version")
    version = save_cascade(cascade, output)
    if len(folds) == 1:  # of averaged nets, none alone is the model
        unfold.save(trained_nets(run_dir, config, folds[0], FLAGS.weights), version, config)
    say(f"{version}: the cascade, {precision}, five nets of fold {', '.join(map(str, folds))}"
        + (", averaged over mirror images" if flips else ""))
    return 0


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {"Input and output": ("run_dir", "output", "folds", "weights"),
                       "What to export": ("tta", "precision", "tumor_fusion", "lesion_threshold", "compare")},
                "nothing was exported")


if __name__ == "__main__":
    run()
