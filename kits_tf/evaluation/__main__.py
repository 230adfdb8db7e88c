"""Scores predictions against ground truth, as KiTS19 and KiTS23 do.

python -m kits_tf.evaluation --predictions=DIR --labels=STUDY --output=DIR

Writes scores.csv (one row per case) and summary.json (mean, median, worst case), prints both as a table.
Exit status 1 if a prediction could not be compared with its labels, or if nothing could be scored.
"""

import pathlib
import sys

import tqdm
from absl import app, flags

from kits_tf.evaluation import report
from kits_tf.evaluation.files import write_whole
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("predictions", None, "folder of prediction_<id>.nii.gz, where <id> is 00210 for case_00210")
flags.DEFINE_string("labels", None, "ground truth: case_xxxxx/segmentation.nii.gz, or a folder of label files")
flags.DEFINE_string("output", None, "folder to write scores.csv and summary.json to")
flags.DEFINE_list("cases", None, "only these cases, as case_00210,case_00211 or 00210,00211; all by default")
flags.mark_flags_as_required(["predictions", "labels", "output"])


def evaluate(predictions, labels, output, only=None):
    """Scores all cases, writes scores.csv and summary.json, prints the table.

    Args:
        predictions: folder of predictions.
        labels: ground truth, a study or a folder of label files.
        output: folder to write to; made if need be.
        only: names or ids of the cases wanted; None for all.

    Returns:
        The exit status: 0, or 1 if a prediction could not be compared.

    Raises:
        InputError: if a folder is missing, the ground truth cannot be read (nothing is written then), or the output
            cannot be written.
    """
    cases, strays = report.find_cases(predictions, labels, only)
    output = pathlib.Path(output)
    try:  # before the work, not after it
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}), --output expects a folder") from error
    for stray in strays:
        print(f"warning: {stray}: no labels, not scored", file=sys.stderr)
    rows = []
    for files in tqdm.tqdm(cases, desc="scoring", unit="case", file=sys.stderr, disable=None):
        row = report.score_case(files)
        if row.note:
            tqdm.tqdm.write(f"warning: {row.case}: scores 0, {row.note}", file=sys.stderr)
        rows.append(row)
    summary = report.summarize(rows)
    print(report.to_table(rows, summary))
    try:
        write_whole(output / "scores.csv", report.to_csv(rows).encode())
        write_whole(output / "summary.json", report.to_json(summary).encode())
    except OSError as error:
        raise InputError(f"{output}: cannot be written to ({error.strerror})") from error
    return 1 if summary["failed"] else 0


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    try:
        return evaluate(FLAGS.predictions, FLAGS.labels, FLAGS.output, FLAGS.cases or None)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    app.run(main)
