"""Exports a trained run as one SavedModel that holds the whole cascade.

    python -m kits_tf.cascade --run_dir=runs/demo --output=runs/demo/export
    python -m kits_tf.cascade --run_dir=runs/kits --folds=0,1,2,3,4 --tta=flips
    python -m kits_tf.cascade --run_dir=runs/kits --compare=kits19/test

The export computes in float32 or, for predict.py --precision=bfloat16, partly in bfloat16, from the same weights.
--compare prints how the labels of the two differ, and keeps in float32 the stages whose labels differ too much.
"""

import functools
import pathlib

from absl import flags

from kits_tf import command, device
from kits_tf.config import STAGES, command_line
from kits_tf.errors import InputError
from kits_tf.files import lock
from kits_tf.quiet import hushed, say, warn

FLAGS = flags.FLAGS
PHANTOMS = "phantoms"  # of --compare
# Settings that no net was trained with, so that an export may have others than the run.
RULES = ("most_kidneys", "tumor_min_voxels", "refine_margin_voxels", "lesion_threshold", "tumor_fusion",
         "kidney_confidence", "tumor_confidence")
flags.DEFINE_string("run_dir", None, "run folder that train.py wrote, with all five stages trained")
flags.DEFINE_string("output", None, "folder to export to, as a new version; default: <run_dir>/export")
flags.DEFINE_list("folds", ["0"], "folds whose nets to export; several, such as 0,1,2,3,4, are averaged")
flags.DEFINE_enum("weights", "best", ["best", "last"], "weights of the epoch with the best validation Dice, or of the "
                  "last epoch")
flags.DEFINE_enum("tta", "none", ["none", "flips"], "flips: average each net over mirror images, along the axes that "
                  "were mirrored in its training; doubles the time of these nets")
flags.DEFINE_list("bfloat16", None, "stages whose nets compute in bfloat16 in the signature of that name; default: "
                  "nets that begin with 16 filters or more")
flags.DEFINE_enum("tumor_fusion", None, ["union", "tumor2d"], "tumor where tumor3d detected a lesion: that of both "
                  "nets, or of tumor2d alone; default: as in the preset")
flags.DEFINE_float("lesion_threshold", None, "probability above which tumor3d detects a lesion, 0 to 1; raise it if "
                   "other tissue is taken for tumor. Default: as in the preset")
flags.DEFINE_multi_string("set", None, "replace a rule of the cascade, such as most_kidneys=2; may be given several "
                          f"times. The rules: {', '.join(RULES)}")
flags.DEFINE_string("compare", None, "study, or `phantoms` for synthetic ones, on which to compare the labels of "
                    "bfloat16 with those of float32, for each stage of --bfloat16 alone; stages below a Dice of 0.998 "
                    "in any case stay in float32, and predict.py --precision=auto may use the others")
flags.mark_flags_as_required(["run_dir"])


def fold_numbers(names: list[str]) -> list[int]:
    """Parses --folds. Raises InputError unless it is a list of different numbers."""
    folds = [int(name) for name in names if name.strip().isdecimal()]
    if not folds or len(folds) != len(names) or len(set(folds)) != len(folds):
        raise InputError(f"--folds={','.join(names)}: expected different numbers, such as 0,1,2")
    return folds


def changed_rules() -> dict[str, object]:
    """Returns the rules that flags replace. Raises InputError if --set names no rule, or a value has the wrong type."""
    if FLAGS.lesion_threshold is not None and not 0 < FLAGS.lesion_threshold < 1:
        raise InputError(f"--lesion_threshold={FLAGS.lesion_threshold}: expected a number between 0 and 1")
    given = {name: FLAGS[name].value for name in ("tumor_fusion", "lesion_threshold") if FLAGS[name].value is not None}
    rules = command_line.changes_of_set()
    for name in rules:
        if name not in RULES:
            raise InputError(f"--set={name}: the nets were trained with this setting; expected one of "
                             f"{', '.join(RULES)}")
    return {**given, **rules}


def main() -> int:
    folds = fold_numbers(FLAGS.folds)
    rules = changed_rules()
    if set(FLAGS.bfloat16 or ()) - set(STAGES):
        raise InputError(f"--bfloat16={','.join(FLAGS.bfloat16)}: expected some of {', '.join(STAGES)}")
    with hushed():  # imported late: TensorFlow takes seconds to import, and --help does not need it
        from kits_tf.cascade import compare
        from kits_tf.cascade.collect import collect, describe, trained_nets
        from kits_tf.cascade.export import build_cascade, save_cascade
        from kits_tf.models import unfold
        from kits_tf.phantoms import sample

    device.announce("float32", False, "exporting")
    run_dir, flips, study = FLAGS.run_dir, FLAGS.tta == "flips", FLAGS.compare
    output = FLAGS.output or pathlib.Path(run_dir) / "export"
    cases = sample.drawn_cases if study == PHANTOMS else functools.partial(compare.study_cases, study or "")
    if study:
        cases()  # a study that cannot be read is found before the work
    say(f"{run_dir}: reading the five nets of fold {', '.join(map(str, folds))}")
    nets, config = collect(run_dir, folds, FLAGS.weights)
    config = command_line.changed(config, rules)
    trained, warnings = describe(run_dir, folds)
    for warning in warnings:
        warn(warning)
    origin = {"folds": folds, "weights": FLAGS.weights, "trained": trained}
    with lock.only_writer(output):
        say("building the cascade's graph, which takes most of the time")
        cascade = build_cascade(nets, config, flips, origin, FLAGS.bfloat16)
        if study:
            least = {stage: _least_dice(cascade, stage, cases()) for stage in cascade.contents["bfloat16"]}
            origin["bfloat16_compared"] = {"study": study, "least_dice": least}
            kept = [stage for stage, dice in least.items() if dice >= compare.LEAST_DICE]
            cascade = build_cascade(nets, config, flips, origin, kept)
        say(f"{output}: saving the next version")
        version = save_cascade(cascade, output)
        if len(folds) == 1:  # of averaged nets, none alone is the model
            unfold.save(trained_nets(run_dir, config, folds[0], FLAGS.weights), version, config)
    say(f"{version}: the cascade, five nets of fold {', '.join(map(str, folds))}"
        + (", averaged over mirror images" if flips else ""))
    return 0


def _least_dice(cascade, stage, cases):
    """Compares one stage in bfloat16 with float32, prints the Dice of each case, and returns the least of them."""
    from kits_tf.cascade import compare

    print(f"float32 and {stage} in bfloat16")
    rows = compare.compare(cascade.functions["serving_default"], cascade.computing_in_bfloat16([stage]), cases)
    print(compare.table(rows, "float32", "bfloat16"))
    least = compare.least_dice(rows)
    say(f"{stage}: {'may compute in bfloat16' if least >= compare.LEAST_DICE else 'stays in float32'}; the least Dice "
        f"between its labels in both is {least:.4f}, and {compare.LEAST_DICE} is required")
    return least


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {"Input and output": ("run_dir", "output", "folds", "weights"),
                       "What to export": ("tta", "bfloat16", "tumor_fusion", "lesion_threshold", "set",
                                          "compare")},
                "nothing was exported")


if __name__ == "__main__":
    run()
