"""Times --help of each command, against an empty Python run and against importing TensorFlow.

    python -m benchmarks.startup
"""

import statistics
import subprocess
import sys

from absl import app, flags

from benchmarks import tables

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 5, "how often each is timed", lower_bound=5)
COMMANDS = {"predict.py --help": ["predict.py", "--help"], "train.py --help": ["train.py", "--help"],
            "data_prep --help": ["-m", "data_prep", "--help"],
            "kits_tf.evaluation --help": ["-m", "kits_tf.evaluation", "--help"],
            "kits_tf.cascade --help": ["-m", "kits_tf.cascade", "--help"],
            "python -c pass": ["-c", "pass"], "import tensorflow": ["-c", "import tensorflow"]}


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    seconds = tables.alternate(FLAGS.rounds, **{
        name: lambda command=command: subprocess.run([sys.executable, *command], capture_output=True)
        for name, command in COMMANDS.items()})
    tables.table("Starting", ("command", "seconds"),
                 [(name, f"{statistics.median(values):.2f}") for name, values in seconds.items()],
                 f"`python -m benchmarks.startup`: medians of {FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
