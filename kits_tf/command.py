"""What all commands share: help by groups, --quiet and --verbose, a user's mistake in one line, Ctrl-C.

Exit status: what the command says, 0 if all is well; 1 for a mistake in one line; 130 for Ctrl-C, half a
second later at the latest: what TensorFlow computes just then cannot be interrupted, and is left.
"""

import multiprocessing
import os
import re
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable

from absl import app, flags

from kits_tf import quiet
from kits_tf.errors import InputError

FLAGS = flags.FLAGS
OUTPUT = "What is said"
GRACE_S = 0.5  # for Ctrl-C to be noticed and for what is open to be closed
INTERRUPTED = 130  # 128 + SIGINT, as shells count
NO_HELP = "(no help available)"  # what absl says of a flag without
HELP = ("--help", "-help", "--helpshort", "-h", "-?")

flags.DEFINE_boolean("quiet", False, "say warnings and errors alone; no progress bars")
flags.DEFINE_boolean("verbose", False, "what TensorFlow, gRPC and dask say too, and where in the program an error "
                     "arose")
flags.mark_bool_flags_as_mutual_exclusive(["quiet", "verbose"])


def run(main: Callable[[], int | None], groups: dict[str, tuple[str, ...]], stopped: str) -> None:
    """Runs a command and ends the process.

    Args:
        main: the command, once its flags are read; returns the exit status. The docstring of its module is the help.
        groups: title to names of flags, for --help.
        stopped: what a user who pressed Ctrl-C should know, as "the same command goes on".
    """
    if set(sys.argv[1:]) & set(HELP):
        print(help_text(sys.modules[main.__module__].__doc__ or "", groups))
        sys.exit(0)
    _end_soon_after_interrupt(stopped)
    try:
        app.run(lambda _: _call(main), flags_parser=_parse)
    except KeyboardInterrupt:
        _say_stopped(stopped)
        sys.exit(INTERRUPTED)


def _parse(arguments):
    try:
        rest = FLAGS(arguments)
    except flags.Error as error:
        sys.exit(f"{' '.join(str(error).split()).rstrip('.')} (--help lists the flags)")
    if len(rest) > 1:
        sys.exit(f"{rest[1]}: not understood; flags are written --name=value (--help lists them)")
    return rest


def _call(main):
    quiet.set_level(-1 if FLAGS.quiet else int(FLAGS.verbose))
    quiet.quiet_tensorflow()
    try:
        return main()
    except InputError as error:
        if FLAGS.verbose:
            traceback.print_exc()
        print(error, file=sys.stderr)
        return 1


_stopping = threading.Event()


def _say_stopped(stopped):
    if not _stopping.is_set():
        _stopping.set()
        print(f"stopped; {stopped}", file=sys.stderr, flush=True)


def _end_soon_after_interrupt(stopped):
    """Ends the process some time after Ctrl-C, if it is still there then.

    Python's own KeyboardInterrupt waits until TensorFlow's call returns, which may take a minute. The wakeup file is
    written to at once; a thread waits for it. Files are whole or absent at any time, so that no harm is done.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait():
        while os.read(reader, 1) != bytes([signal.SIGINT]):
            pass
        time.sleep(GRACE_S)
        _say_stopped(stopped)
        for child in multiprocessing.active_children():  # workers
            child.kill()
        os._exit(INTERRUPTED)

    threading.Thread(target=wait, name="interrupt", daemon=True).start()


def help_text(about: str, groups: dict[str, tuple[str, ...]]) -> str:
    """A command's docstring and its flags, a line or two each; what has no help of its own is only listed."""
    lines = [about.rstrip()]
    for title, names in {**groups, OUTPUT: ("quiet", "verbose")}.items():
        lines += ["", f"{title}:"]
        for name in names:
            if FLAGS[name].help != NO_HELP:
                written = f"{_written(FLAGS[name]):<26}"
                lines += [f"  {written}"] if len(written) > 26 else []
                lines += textwrap.wrap(_explained(FLAGS[name]), 110, subsequent_indent=" " * 30,
                                       initial_indent=" " * 30 if len(written) > 26 else f"  {written}  ")
        rest = "  ".join(_written(FLAGS[name]) for name in names if FLAGS[name].help == NO_HELP)
        lines += textwrap.wrap(rest, 110, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([*lines, "", "--flagfile=FILE reads flags from a file, one a line."])


def _written(flag):
    if flag.boolean:
        return f"--[no]{flag.name}" if flag.default else f"--{flag.name}"
    return f"--{flag.name}=" + "|".join(getattr(flag.parser, "enum_values", ()))


def _explained(flag):
    text = re.sub(r"^<[^>]*>: ", "", flag.help)  # absl's list of an enum's values
    default = (flag.default_as_str or "").strip("'")
    return text + (f" [{default}]" if default and not flag.boolean else "")
