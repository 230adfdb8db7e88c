"""Runs the benchmarks one after another and writes RESULTS.md. `make bench` runs this command.

    python -m benchmarks [--only=reading,components] [--work=DIR]

Each section names its machine and date. --only updates the given sections and leaves the others unchanged.
"""

import pathlib
import subprocess
import sys

from absl import app, flags

from benchmarks import tables
from kits_tf.files.atomic import write_text

FLAGS = flags.FLAGS
# The benchmarks in the order of RESULTS.md, with their flags.
RUNS = {"nnunet": ["--tiles=5", "--rounds=5"], "predict": [], "predict_bfloat16": ["--precision=bfloat16"], "nets": [],
        "growth": [], "many": [], "training": [], "reading": [], "components": [], "startup": []}
flags.DEFINE_list("only", list(RUNS), "which of " + ", ".join(RUNS))
flags.DEFINE_string("work", "runs/bench", "folder for the peers' environments and files")
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    for name in FLAGS.only:
        if name not in RUNS:
            raise app.UsageError(f"--only={name}: expected some of {', '.join(RUNS)}")
    for name in FLAGS.only:
        given = [*RUNS[name], *([f"--work={FLAGS.work}"] if name == "nnunet" else [])]
        print(f"{name} ...", file=sys.stderr)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name.split('_')[0]}", *given], text=True,
                              stdout=subprocess.PIPE)
        if done.returncode:
            print(f"benchmarks.{name} failed; its part of {RESULTS} is left as it was", file=sys.stderr)
            return 1
        print(done.stdout)
        write_text(RESULTS, replaced(RESULTS.read_text() if RESULTS.exists() else "", name,
                                     f"{done.stdout.strip()}\n\nOn {tables.machine()}."))
        print(f"wrote {RESULTS}", file=sys.stderr)
    return 0


def replaced(text, name, section):
    """Returns RESULTS.md with one section replaced. A comment with its name starts each section; RUNS has the order."""
    parts = dict(part.strip().split(" -->\n\n", 1) for part in text.split("<!-- ")[1:]) | {name: section}
    return "\n\n".join(["# Results", "By `make bench`.", *(f"<!-- {name} -->\n\n{parts[name]}" for name in RUNS
                                                           if name in parts)]) + "\n"


if __name__ == "__main__":
    app.run(main)
