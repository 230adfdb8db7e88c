"""Describes every setting in words, for --help_settings and docs/settings.md.

The meaning of a setting is the comment beside or above its field in the source, so the two cannot disagree.

    python -m kits_tf.config.reference > docs/settings.md
"""

import dataclasses
import functools
import inspect
import re
import sys
import typing

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.overrides import names, value_of
from kits_tf.config.presets import PRESETS
from kits_tf.config.stages import STAGES
from kits_tf.config.training import AugmentConfig, TrainingConfig

STAGE_CLASSES = {stage: typing.get_type_hints(CascadeConfig)[stage] for stage in STAGES}
FIELD = re.compile(r"    (\w+): [^#]*(?:# (.*))?")
HEAD = """# Settings

Every setting of the cascade, its default, and its meaning. This page is generated from the dataclasses in
`kits_tf/config/` (`python -m kits_tf.config.reference > docs/settings.md`).

A preset chooses values for all of them. `--set` replaces one, for data_prep and train.py alike:

```sh
python train.py --stage=fine --run_dir=runs/slow --set=fine.training.learning_rate=5e-4 --set=all.training.epochs=3
python train.py --help_settings                # all settings, with their values in a preset
```

`all.` stands for every stage that has the setting. Tuples are written as `3,0.7816,0.7816`. If a change concerns the
records (sizes, spacing, jitter), prepare them with the same `--set`; train.py refuses records of other settings.
"""


@functools.cache
def describe(cls: type) -> dict[str, str]:
    """Returns the comment of each field of a config dataclass; no entry for a field without comment."""
    fields = {field.name for field in dataclasses.fields(cls)}
    above: list[str] = []
    found: dict[str, str] = {}
    for line in inspect.getsource(cls).splitlines():
        field = FIELD.match(line)
        if field and field[1] in fields:
            words = [*above, *([field[2]] if field[2] else [])]
            found |= {field[1]: " ".join(words)} if words else {}
        above = [*above, line.strip(" #")] if line.startswith("    #") else []
    return found


def meaning(name: str) -> str:
    """Returns the meaning of a setting, given by its name as in overrides.names."""
    cls, field = _field(name)
    return describe(cls).get(field, "")


def _field(name: str) -> tuple[typing.Any, str]:
    cls: typing.Any = CascadeConfig
    *path, field = name.split(".")
    for part in path:
        cls = typing.get_type_hints(cls)[part]
    return cls, field


def written(value: typing.Any) -> str:
    """Writes a value as --set reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def listing(config: CascadeConfig) -> list[str]:
    """Returns a line per setting: name, value and meaning."""
    assignments = {name: f"{name}={written(value_of(config, name))}" for name in names()}
    width = max(map(len, assignments.values()))
    return [f"{assignment:<{width}}  {meaning(name)}" for name, assignment in assignments.items()]


def page() -> str:
    """Returns the text of docs/settings.md."""
    sections = [("The cascade", CascadeConfig, ""), *((stage, STAGE_CLASSES[stage], f"{stage}.") for stage in STAGES),
                ("The U-Nets", UNetConfig, "<stage>.net."), ("The net of tumor3d", FCN3DConfig, "tumor3d.net."),
                ("Training", TrainingConfig, "<stage>.training."),
                ("Augmentation", AugmentConfig, "<stage>.training.augment.")]
    lines = [HEAD]
    for title, cls, path in sections:
        lines += [f"## {title}", "", *_table(cls, path), ""]
    lines += ["## Presets", "", "Values that differ from the defaults above."]
    for preset, config in PRESETS.items():
        about = inspect.getdoc(sys.modules[f"kits_tf.config.presets.{preset}"]) or ""
        lines += ["", f"### {preset}", "", "```text", about, "```", "", *_differences(config)]
    return "\n".join(lines)


def _table(cls, path):
    about = " ".join((inspect.getdoc(cls) or "").split()).removesuffix(" Raises ValueError for an invalid value.")
    yield from [about, "", "| setting | default | meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(cls):
        if not dataclasses.is_dataclass(field.type) and field.name != "preset":
            yield f"| `{path}{field.name}` | {written(field.default)} | {describe(cls)[field.name]} |"


def _differences(config):
    defaults = {name: getattr(cls, field) for name in names() for cls, field in [_field(name)]}
    shared = {name: value_of(config, name) for name in names() if name.partition(".")[0] not in STAGES}
    changed = [f"`{name}={written(value)}`" for name, value in shared.items() if value != defaults[name]]
    if changed:
        yield from [f"{', '.join(changed)}", ""]
    yield from ["| setting | " + " | ".join(STAGES) + " |", "| --- " * (len(STAGES) + 1) + "|"]
    of_stages = dict.fromkeys(name.partition(".")[2] for name in names() if name.partition(".")[0] in STAGES)
    for inner in of_stages:
        values = {stage: value_of(config, f"{stage}.{inner}") for stage in STAGES if f"{stage}.{inner}" in defaults}
        if any(value != defaults[f"{stage}.{inner}"] for stage, value in values.items()):
            cells = [written(values[stage]) if stage in values else "" for stage in STAGES]
            yield f"| `{inner}` | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(page())
