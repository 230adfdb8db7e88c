"""Runs the benchmarks one after another and writes RESULTS.md; what make bench calls.

    python -m benchmarks [--only=reading,components] [--work=DIR]
"""

import pathlib
import subprocess
import sys

from absl import app, flags

from benchmarks import tables
from kits_tf.io.files import write_text

FLAGS = flags.FLAGS
# What runs, in the order of RESULTS.md, and with which flags.
RUNS = {"nnunet": ["--tiles=5"], "predict": [], "predict_bfloat16": ["--precision=bfloat16"], "nets": [],
        "growth": [], "training": [], "reading": [], "components": [], "startup": []}
flags.DEFINE_list("only", list(RUNS), "which of " + ", ".join(RUNS))
flags.DEFINE_string("work", "runs/bench", "folder for the peers' environments and files")
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    sections = []
    for name in FLAGS.only:
        if name not in RUNS:
            raise app.UsageError(f"--only={name}: expected some of {', '.join(RUNS)}")
    for name in FLAGS.only:
        given = [*RUNS[name], *([f"--work={FLAGS.work}"] if name == "nnunet" else [])]
        print(f"{name} ...", file=sys.stderr)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name.split('_')[0]}", *given], text=True,
                              stdout=subprocess.PIPE)
        if done.returncode:
            print(f"benchmarks.{name} failed; {RESULTS} is left as it was", file=sys.stderr)
            return 1
        print(done.stdout)
        sections.append(done.stdout.strip())
    write_text(RESULTS, "\n\n".join(["# Results", f"By `make bench`, on {tables.machine()}.", *sections]) + "\n")
    print(f"wrote {RESULTS}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    app.run(main)
