"""The five nets chained inside TensorFlow: Hounsfield units and spacing in, labels and a report out.

`export_cascade(nets, directory, config)` writes the whole as one SavedModel. Never imports training.
"""

import pkgutil
import typing


def __getattr__(name: str) -> typing.Any:
    """TensorFlow, which takes seconds to import, is imported by those who export: not for --help."""
    if name == "export_cascade":
        return pkgutil.resolve_name("kits_tf.cascade.export:export_cascade")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
