"""Code shared by all commands: grouped --help, --version, --quiet and --verbose, errors in one line, Ctrl-C.

Exit status: the command's own, 0 for success; 1 for an error, which is printed as one line; 130 for Ctrl-C. After
Ctrl-C the process ends within half a second and abandons a running TensorFlow call, which cannot be interrupted.
"""

import codecs
import contextlib
import importlib.metadata
import multiprocessing
import os
import pathlib
import re
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable

from absl import app, flags

import kits_tf
from kits_tf import environment, quiet
from kits_tf.errors import InputError, one_line, printable

FLAGS = flags.FLAGS
OUTPUT = "Logging"
GRACE_S = 0.5  # time for Python to handle Ctrl-C and to close open files
INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
VERSION = ("--version", "-version")
HELP = ("--help", "-help", "--helpshort", "-h", "-?")

flags.DEFINE_boolean("quiet", False, "print warnings and errors only; no progress bars")
flags.DEFINE_boolean("verbose", False, "also print the messages of TensorFlow, gRPC and dask, and the traceback "
                     "of an error")
flags.mark_bool_flags_as_mutual_exclusive(["quiet", "verbose"])


def run(main: Callable[[], int | None], groups: dict[str, tuple[str, ...]], stopped: str) -> None:
    """Runs a command and ends the process.

    Args:
        main: called after the flags are parsed; returns the exit status. Its module's docstring is the help text.
        groups: maps a title to names of flags, for --help.
        stopped: message for a user who pressed Ctrl-C, such as "rerun the command to continue".
    """
    environment.mend_streams()
    if set(sys.argv[1:]) & set(VERSION):
        print(version())
        sys.exit(0)
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
        rest = FLAGS([arguments[0], *_with_flag_files(arguments[1:])])
    except flags.Error as error:
        sys.exit(f"{one_line(error).rstrip('.')} (--help lists the flags)")
    if len(rest) > 1:
        sys.exit(f"{rest[1]}: unexpected argument; flags are written --name=value (--help lists them)")
    for flag in map(FLAGS.__getitem__, FLAGS):
        if flag.present and flag.value == "" != flag.default:  # a path that would mean the current folder
            sys.exit(f"--{flag.name}=: is empty; give a value, or leave the flag out (was a variable not set?)")
        if isinstance(flag.value, str) and flag.value.startswith("~"):  # shells leave --output=~/x as it is
            flag.value = os.path.expanduser(flag.value)
            if flag.value.startswith("~"):  # else a folder of that name would be made
                sys.exit(f"--{flag.name}={flag.value}: the home folder of {flag.value.split('/')[0]} is not known; set "
                         f"HOME, or give the path in full (./~ for a name that begins so)")
    return rest


def _with_flag_files(arguments, above=()):
    """Replaces each --flagfile by the file's lines.

    absl would do so too, but it takes a byte order mark, which editors on Windows put first, for part of a flag, and
    UTF-16 for an error.
    """
    expanded, rest = [], iter(arguments)
    for argument in rest:
        name, given, path = argument.partition("=")
        if argument == "--":
            return [*expanded, argument, *rest]
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            continue
        path = pathlib.Path(os.path.expanduser(path if given else next(rest, "")))
        if path in above:
            raise flags.CantOpenFlagFileError(f"--flagfile={path}: names itself")
        try:
            raw = path.read_bytes()
            text = raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
        except OSError as error:
            raise flags.CantOpenFlagFileError(f"--flagfile={path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise flags.CantOpenFlagFileError(f"--flagfile={path}: is no text in UTF-8, save it so") from error
        lines = [line.strip() for line in text.splitlines()]
        expanded += _with_flag_files([line for line in lines if line and not line.startswith(("#", "//"))],
                                     (*above, path))
    return expanded


def _call(main):
    quiet.set_level(-1 if FLAGS.quiet else int(FLAGS.verbose))
    quiet.quiet_tensorflow()
    try:
        environment.check_folders()
        return main()
    except Exception as error:
        if FLAGS.verbose:
            traceback.print_exc()
        print(_line(error), file=sys.stderr)
        return 1


def _line(error):
    """Returns an error as one line. Errors that are neither a user's nor the system's are faults of the program."""
    if isinstance(error, InputError):
        return printable(str(error))
    text = one_line(error)
    if isinstance(error, MemoryError):
        return f"the memory does not suffice: {text}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; fix this, then rerun the command"
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (f"{type(error).__name__}: {text} (in {where.filename}, line {where.lineno}); this is a fault of the "
            f"program, --verbose shows more")


def version() -> str:
    """Returns the versions of this package and of TensorFlow, without importing it."""
    for name in ("tensorflow", "tensorflow-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"kits_tf {kits_tf.__version__}, TensorFlow {importlib.metadata.version(name)}"
    return f"kits_tf {kits_tf.__version__}, TensorFlow is not installed"


_stopping = threading.Event()


def _say_stopped(stopped):
    if not _stopping.is_set():
        _stopping.set()
        print(f"stopped; {stopped}", file=sys.stderr, flush=True)


def _end_soon_after_interrupt(stopped):
    """Ends the process GRACE_S seconds after Ctrl-C, if it is still running.

    Python raises KeyboardInterrupt only when TensorFlow's call returns, which may take a minute. The signal's wakeup
    file descriptor is written at once, and a thread waits for it. Output files are always whole or absent, so ending
    the process at any time is safe.
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
    """Formats a command's docstring and its flags by group."""
    lines = [about.rstrip()]
    for title, names in {**groups, OUTPUT: ("quiet", "verbose")}.items():
        lines += ["", f"{title}:"]
        for name in names:
            written = f"{_written(FLAGS[name]):<26}"
            lines += [f"  {written}"] if len(written) > 26 else []
            lines += textwrap.wrap(_explained(FLAGS[name]), 110, subsequent_indent=" " * 30,
                                   initial_indent=" " * 30 if len(written) > 26 else f"  {written}  ")
    return "\n".join([*lines, "", "--version prints the versions of kits_tf and TensorFlow.",
                      "--flagfile=FILE reads flags from a file, one per line."])


def _written(flag):
    if flag.boolean:
        return f"--[no]{flag.name}" if flag.default else f"--{flag.name}"
    return f"--{flag.name}=" + "|".join(getattr(flag.parser, "enum_values", ()))


def _explained(flag):
    # absl puts an enum's values first, and appends a remark to flags that can be repeated
    text = re.sub(r"^<[^>]*>: |;\s+repeat this option.*", "", flag.help, flags=re.DOTALL)
    default = (flag.default_as_str or "").strip("'")
    return text + (f" [{default}]" if default and not flag.boolean else "")
