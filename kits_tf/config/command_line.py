"""The flags for settings of every command that takes --preset: --preset, --set and --help_settings."""

import signal
import sys
import typing
from collections.abc import Callable, Mapping

from absl import flags

from kits_tf.config import overrides, reference
from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.presets import PRESETS
from kits_tf.errors import InputError

FLAGS = ("preset", "set", "help_settings")  # for --help


def define_flags() -> None:
    """Defines --preset, --set and --help_settings."""
    flags.DEFINE_enum("preset", "paper", list(PRESETS), "settings of the whole cascade; the same for data_prep and "
                      "train.py")
    flags.DEFINE_multi_string("set", None, "replace a setting of the preset, such as fine.training.learning_rate=5e-4; "
                              "all.training.epochs=5 does so in every stage; may be given several times")
    flags.DEFINE_boolean("help_settings", False, "list all settings with their values and meanings, and stop")


def changes_of_set() -> dict[str, typing.Any]:
    """Returns the settings that --set names, with their values. Raises InputError if one cannot be read."""
    try:
        return overrides.parse(flags.FLAGS.set or ())
    except ValueError as error:
        raise InputError(f"--set={error}") from error


def changed(config: CascadeConfig, changes: Mapping[str, typing.Any]) -> CascadeConfig:
    """Returns the config with changes, as overrides.override. Raises InputError if one is invalid."""
    try:
        return overrides.override(config, changes)
    except ValueError as error:
        raise InputError(str(error)) from error


def config_from_flags(more: Callable[[CascadeConfig], Mapping[str, typing.Any]] = lambda _: {}) -> CascadeConfig:
    """Returns the preset with the changes of --set. With --help_settings, prints all settings and ends the process.

    Args:
        more: returns further changes to a preset, as overrides.override takes them; --set replaces these.

    Raises:
        InputError: if --set names no setting, or a value is invalid.
    """
    preset = PRESETS[flags.FLAGS.preset]
    config = changed(preset, {**more(preset), **changes_of_set()})
    if flags.FLAGS.help_settings:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `| head`
        print("\n".join(reference.listing(config)))
        sys.exit(0)
    return config
