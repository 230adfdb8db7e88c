"""Exports a trained run as one SavedModel that holds the whole cascade.

python -m kits_tf.cascade --run_dir=runs/demo --output=runs/demo/export
python -m kits_tf.cascade --run_dir=runs/kits --folds=0,1,2,3,4 --tta=flips
python -m kits_tf.cascade --run_dir=runs/kits --precision=bfloat16 --compare=kits19/test

With --precision=bfloat16, also prints how the labels differ from those of float32, on synthetic phantoms or on the
study given by --compare.
"""

import dataclasses
import pathlib

from absl import flags

from kits_tf import command
from kits_tf.errors import InputError
from kits_tf.quiet import hushed, say

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "run folder that train.py wrote, with all five stages trained")
flags.DEFINE_string("output", None, "export folder; <run_dir>/export unless given. Each export is a new version in it")
flags.DEFINE_list("folds", ["0"], "which folds' nets; the mean of several counts, as --folds=0,1,2,3,4")
flags.DEFINE_enum("weights", "best", ["best", "last"], "best on the held-out cases, or the last")
flags.DEFINE_enum("tta", "none", ["none", "flips"], "flips: every net's mean over mirror images, along the axes that "
                  "its training mirrored; twice the time of a net that has one")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "what the nets compute in; the rest is float32")
flags.DEFINE_enum("tumor_fusion", None, ["union", "tumor2d"], "whose tumor counts where tumor3d detected one: that of "
                  "either net, or tumor2d's alone; as the preset says unless given")
flags.DEFINE_float("lesion_threshold", None, "tumor3d's probability above which a voxel is a lesion's, 0 to 1; as the "
                   "preset says (0.5) unless given. Higher where it takes other tissue for tumor")
flags.DEFINE_string("compare", None, "study to compare the labels of both precisions on; drawn patients unless given")
flags.mark_flags_as_required(["run_dir"])


def fold_numbers(names: list[str]) -> list[int]:
    """Parses --folds. Raises InputError unless it is a list of different numbers."""
    folds = [int(name) for name in names if name.strip().isdecimal()]
    if not folds or len(folds) != len(names) or len(set(folds)) != len(folds):
        raise InputError(f"--folds={','.join(names)}: expected different numbers, as 0,1,2")
    return folds


def export(run_dir: str | pathlib.Path, output: str | pathlib.Path, folds: list[int], weights: str = "best",
           tta: str = "none", precision: str = "float32", study: str | pathlib.Path | None = None,
           tumor_fusion: str | None = None, lesion_threshold: float | None = None) -> pathlib.Path:
    """Exports the cascade and returns the version folder. Compares other precisions with float32 first.

    Raises:
        InputError: if the nets cannot be collected, or the study cannot be read.
    """
    with hushed():  # imported late: TensorFlow takes seconds to import, and --help does not need it
        from kits_tf.cascade import compare
        from kits_tf.cascade.collect import collect
        from kits_tf.cascade.export import build_cascade, save_cascade
        from kits_tf.phantoms import sample

    flips = tta == "flips"
    cases = compare.study_cases(study) if study else sample.drawn_cases()
    say(f"{run_dir}: reading the five nets of fold {', '.join(map(str, folds))}")
    nets, config = collect(run_dir, folds, weights, precision)
    if tumor_fusion:
        config = dataclasses.replace(config, tumor_fusion=tumor_fusion)
    if lesion_threshold is not None:
        config = dataclasses.replace(config, lesion_threshold=lesion_threshold)
    origin = {"folds": folds, "weights": weights, "precision": precision}
    say("building the cascade's graph, which takes most of the time")
    cascade = build_cascade(nets, config, flips, origin)
    if precision != "float32":
        say("building it in float32 too, to compare with")
        float32 = build_cascade(collect(run_dir, folds, weights)[0], config, flips)
        print(compare.table(compare.compare(float32, cascade, cases), "float32", precision))
    say(f"{output}: saving the next version")
    return save_cascade(cascade, output)


def main() -> int:
    folds = fold_numbers(FLAGS.folds)
    if FLAGS.compare and FLAGS.precision == "float32":
        raise InputError("--compare: there is nothing to compare float32 with; give --precision=bfloat16 too")
    if FLAGS.lesion_threshold is not None and not 0 < FLAGS.lesion_threshold < 1:
        raise InputError(f"--lesion_threshold={FLAGS.lesion_threshold}: expected a number between 0 and 1")
    version = export(FLAGS.run_dir, FLAGS.output or pathlib.Path(FLAGS.run_dir) / "export", folds, FLAGS.weights,
                     FLAGS.tta, FLAGS.precision, FLAGS.compare, FLAGS.tumor_fusion,
                     FLAGS.lesion_threshold)
    say(f"{version}: the cascade, {FLAGS.precision}, five nets of fold {', '.join(map(str, folds))}"
        + (", averaged over mirror images" if FLAGS.tta == "flips" else ""))
    return 0


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {"In and out": ("run_dir", "output", "folds", "weights"),
                       "What is exported": ("tta", "precision", "tumor_fusion", "lesion_threshold", "compare")},
                "nothing was exported")


if __name__ == "__main__":
    run()
