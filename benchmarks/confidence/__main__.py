"""How well the confidence of kidneys and tumors separates true findings from false ones.

    python -m benchmarks.confidence --predictions=DIR --study=STUDY [--model=DIR] [--fit]

Takes predict.py's labels and reports of cases with known labels. A predicted component is true if at least TRUE_SHARE
of its voxels are of that class in the ground truth. Prints the area under the ROC curve (AUROC) with its 95 % interval
from a bootstrap over cases, and a table of confidence against the share that is true. With --fit it also prints the
coefficients for `kidney_confidence` and `tumor_confidence` (config/cascade.py): a logistic regression on
the logit of the mean probability and the logarithm of the volume. Fit on other cases than those whose AUROC you quote.
"""

import pathlib

from absl import flags

from kits_tf import command

FLAGS = flags.FLAGS
flags.DEFINE_string("predictions", None, "output folder of predict.py", required=True)
flags.DEFINE_string("study", None, "study with the ground truth of these cases", required=True)
flags.DEFINE_string("model", None, "the exported cascade that predicted them; the one that ships unless given")
flags.DEFINE_boolean("fit", False, "print the coefficients that these cases give")


def main() -> int:
    from benchmarks.confidence import matching  # imported late, because --help does not need it
    from kits_tf import config as configs
    from kits_tf import weights
    from kits_tf.files import exports

    model = exports.find_export(FLAGS.model) if FLAGS.model else weights.shipped_model()
    config = configs.from_json((model / "assets" / "config.json").read_text())
    for what, (_, field) in matching.CLASSES.items():
        rows = matching.findings(pathlib.Path(FLAGS.predictions), pathlib.Path(FLAGS.study), what)
        low, high = matching.interval(rows)
        area = matching.auroc(rows[:, 2], rows[:, 3])
        print(f"{what}: {len(rows)} findings, {int(rows[:, 3].sum())} true; AUROC {area:.3f} ({low:.3f} to {high:.3f})",
              *matching.table(rows), "", sep="\n")
        if FLAGS.fit:
            print(f"{field}={matching.fit(rows, getattr(config, field))}")
    return 0


if __name__ == "__main__":
    command.run(main, {"In and out": ("predictions", "study", "model", "fit")}, "nothing was written")
