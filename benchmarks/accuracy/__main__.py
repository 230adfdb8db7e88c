"""Draws, prepares, trains, exports, predicts and evaluates with the users' commands; then runs an ablation study.

    python -m benchmarks.accuracy --masks=kits19/data --work=accuracy [--until=train] [--results=benchmarks/accuracy]

Rerun the same command to resume: each step skips what is up to date. SIGTERM during training saves and exits with
status 143. Settings are chosen on the validation set, fold 0 of the training cases (settings.json). The test set
(held_out) is run once, after that.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from absl import app, flags

from benchmarks.accuracy import protocol, results
from kits_tf.errors import InputError
from kits_tf.files import exports, own
from kits_tf.files.atomic import write_text
from kits_tf.phantoms.anatomy import find_anatomy
from kits_tf.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
STEPS = ("draw", "prepare", "train", "choose", "export", "predict", "ablate", "threshold", "results", "gallery")
flags.DEFINE_string("masks", None, "KiTS19's folders, of which segmentation.nii.gz is used", required=True)
flags.DEFINE_string("work", None, "folder for all results", required=True)
flags.DEFINE_string("results", None, "folder for the tables; default: the work folder")
flags.DEFINE_enum("until", STEPS[-1], STEPS, "last step to run")
flags.DEFINE_integer("train_cases", protocol.TRAIN_CASES, "training cases; fewer for a trial run", lower_bound=2)
flags.DEFINE_integer("held_out_cases", protocol.HELD_OUT_CASES, "test cases; fewer for a trial run", lower_bound=1)
flags.DEFINE_string("preset", "small", "settings of all five stages")
flags.DEFINE_list("train_flags", [], "more flags for train.py")
own.define_flag()
ROOT = pathlib.Path(__file__).parents[2]
GALLERY = 5  # number of pictures
# Pairs of tumor_fusion and tumor3d's lesion_threshold. With tumor2d, lower thresholds are candidates too, because
# tumor2d makes the final decision. The first pair is the preset's; it is kept unless another is clearly better.
CANDIDATES = (("union", 0.5), ("union", 0.8), ("union", 0.95), ("tumor2d", 0.2), ("tumor2d", 0.5), ("tumor2d", 0.8))


def call(*command):
    """Runs a command from the project's root and passes SIGTERM on to it. Exits with its status if it fails."""
    print("$ python", *command, flush=True)
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT) as process:
        usual = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        status = process.wait()
        signal.signal(signal.SIGTERM, usual)
    if status:
        sys.exit(status)
    print(f"  {time.perf_counter() - began:.0f} s", flush=True)


def draw(work):
    """Draws the phantoms that are missing, for training and for the test set."""
    wanted, there = FLAGS.train_cases + FLAGS.held_out_cases, len(find_anatomy(FLAGS.masks))
    if there < wanted:  # label files would be used twice, and the test set would contain training anatomy
        sys.exit(f"--masks={FLAGS.masks}: holds {there} label files, {wanted} are needed")
    for study, first, count in ((work.train, 0, FLAGS.train_cases),
                                (work.held_out, FLAGS.train_cases, FLAGS.held_out_cases)):
        for index in range(first, first + count):
            if not (study / f"case_{index:05d}" / "segmentation.nii.gz").exists():  # a case's last file
                call("-m", "kits_tf.phantoms", f"--anatomy={pathlib.Path(FLAGS.masks).absolute()}", f"--output={study}",
                     f"--seed={protocol.SEED}", "--cases=1", f"--first={index}")


def prepare(work):
    """Writes the records of the training cases."""
    call("-m", "data_prep", f"--input={work.train}", f"--output={work.data}", f"--preset={FLAGS.preset}")


def train(work):
    """Trains the five stages, with --train_flags."""
    call("train.py", "--stage=all", f"--preset={FLAGS.preset}", f"--data_dir={work.data}", f"--run_dir={work.run}",
         *FLAGS.train_flags)


def evaluate(predictions, labels, output, cases=None):
    """Scores a folder of predictions, unless its scores.csv is up to date, and returns the scores."""
    made = [path.stat().st_mtime for path in predictions.glob("prediction_*.nii.gz")]
    scores = output / "scores.csv"
    if not scores.exists() or scores.stat().st_mtime < max(made):
        only = [f"--cases={','.join(cases)}"] if cases else []
        only += [f"--workers={len(os.sched_getaffinity(0))}"]
        call("-m", "kits_tf.evaluation", f"--predictions={predictions}", f"--labels={labels}", f"--output={output}",
             *only)
    return results.read_scores(scores)


def choose(work):
    """Chooses the tumor fusion and tumor3d's threshold on the contrast-enhanced validation cases."""
    if work.settings.exists():
        return
    from benchmarks.accuracy import ablation

    cases, phases, found, sums = protocol.validation_cases(work), protocol.phases(work.train), [], []
    variants = [ablation.Variant(f"{fusion}_{threshold}", "",
                                 settings={"tumor_fusion": fusion, "lesion_threshold": threshold})
                for fusion, threshold in CANDIDATES]
    ablation.predict(work.run, cases, work.validation, variants)
    for variant in variants:
        scores = evaluate(work.validation / variant.name, work.train, work.validation / f"scores_{variant.name}",
                          [case.name for case in cases])
        rows = results.split_by_contrast(variant.name, scores, phases)[0][1].values()
        found.append(variant.settings | {name: [row[name] for row in rows] for name in ("kidney_dice", "tumor_dice")})
        sums.append([row["kidney_dice"] + row["tumor_dice"] for row in rows])  # KiTS19 ranks by the mean of both
    best = results.clearly_best(sums)
    write_text(work.settings, json.dumps({"chosen": found[best], "validation": found}, indent=2) + "\n")


def chosen(work):
    """Returns the chosen fields of CascadeConfig."""
    settings = json.loads(work.settings.read_text())["chosen"]
    return {name: settings[name] for name in ("tumor_fusion", "lesion_threshold")}


def export(work):
    """Exports the run with the chosen settings, unless there is an export."""
    if not exports.versions(work.export):
        call("-m", "kits_tf.cascade", f"--run_dir={work.run}", f"--output={work.export}",
             *(f"--{name}={value}" for name, value in chosen(work).items()))


def predict(work):
    """Predicts the test set with the whole cascade."""
    call("predict.py", f"--model={work.export}", f"--input={work.held_out}", f"--output={work.predictions / 'full'}")


def ablate(work):
    """Predicts the test set with each variant of the cascade."""
    from benchmarks.accuracy import ablation

    settings = chosen(work)
    run_already = ablation.same_as_full(settings)
    variants = [variant for variant in ablation.VARIANTS if variant not in run_already]
    ablation.predict(work.run, protocol.cases(work.held_out), work.predictions, variants, **settings)


def threshold(work):
    """Predicts the test set with thresholds that were tuned on the training cases."""
    from benchmarks.accuracy import threshold as thresholds

    thresholds.predict_study(work.train, work.held_out, work.predictions / "threshold")


def tabulate(work):
    """Scores all predictions of the test set, and writes and prints the tables."""
    from benchmarks.accuracy import ablation

    descriptions = {"full": "the whole cascade", "nnunet": "nnU-Net v2, 2d",
                    "threshold": "tuned thresholds with components",
                    **{variant.name: variant.description for variant in ablation.VARIANTS}}
    scores = {}
    for name in descriptions:
        folder = work.predictions / name
        cases = [path.name.removeprefix("prediction_").removesuffix(".nii.gz")
                 for path in sorted(folder.glob("prediction_*.nii.gz"))]
        if cases:  # the peer has predictions only if it was run
            scores[name] = evaluate(folder, work.held_out, work.scores / name, cases)
    scores |= {variant.name: scores["full"] for variant in ablation.same_as_full(chosen(work))}
    output = pathlib.Path(FLAGS.results or work.folder)
    results.write(output, scores, protocol.phases(work.held_out), descriptions, FLAGS.overwrite)
    print((output / "results.md").read_text())


def gallery(work):
    """Draws the test cases with the lowest scores of the whole cascade, with the true outlines."""
    from kits_tf.reporting.overlay import draw_overlay
    from kits_tf.scans.nifti import read_labels, read_volume

    scores = results.read_scores(work.scores / "full" / "scores.csv")
    phases = protocol.phases(work.held_out)
    output = pathlib.Path(FLAGS.results or work.folder) / "gallery"
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.png"):
        if own.is_own(old) or FLAGS.overwrite:
            old.unlink()
    for place, name in enumerate(results.worst(scores, GALLERY), start=1):
        case, row = work.held_out / name, scores[name]
        with own.staged(output, FLAGS.overwrite) as folder:
            draw_overlay(folder / f"{place}_{name}.png", read_volume(case / "imaging.nii.gz"),
                         read_labels(protocol.prediction(work.predictions / "full", case)),
                         f"{name}, {phases[name]}: kidney {row['kidney_dice']:.3f}, tumor {row['tumor_dice']:.3f}",
                         read_labels(case / "segmentation.nii.gz"))


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    work = protocol.Work(pathlib.Path(FLAGS.work).absolute())
    try:  # before days of work
        own.check_own([pathlib.Path(FLAGS.results or work.folder) / name for name in (
            "cases.csv", "results.csv", "results.md")], FLAGS.overwrite)
    except InputError as error:
        sys.exit(str(error))
    takes = dict(zip(STEPS, (draw, prepare, train, choose, export, predict, ablate, threshold, tabulate, gallery),
                     strict=True))
    for step in STEPS[:STEPS.index(FLAGS.until) + 1]:
        takes[step](work)


if __name__ == "__main__":
    app.run(main)
