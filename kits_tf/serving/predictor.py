"""Runs an exported cascade on Volumes. Needs only the SavedModel and builds no net."""

import pathlib

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import lazy, weights
from kits_tf.errors import InputError, one_line
from kits_tf.files import exports
from kits_tf.serving import explain, safety, signature
from kits_tf.serving.precision import choose, compiles
from kits_tf.volume import Volume


class Predictor:
    """A loaded cascade.

    Attributes:
        path: the version that was loaded.
        config: CascadeConfig of the export.
        computed: what the nets are computed with: `device` ("CPU" or "GPU"), `precision`, `xla` (True or False) and
            `tensorflow`, its version.

    Args:
        directory: an export folder (the newest version is used) or one of its versions; None for the model that ships.
        xla: "auto" (compiled nets if TensorFlow finds a GPU), "on" or "off".
        precision: "auto", "float32" or "bfloat16", as in serving.precision.choose.

    Raises:
        ValueError: if `xla` or `precision` has another value.
        InputError: if the folder has no exported cascade, it cannot be loaded, it lacks the signature, or its graph has
            operations that do more than compute (serving/safety.py).
    """

    def __init__(self, directory: str | pathlib.Path | None = None, xla: str = "auto",
                 precision: str = "auto") -> None:
        if xla not in ("auto", "on", "off"):
            raise ValueError(f'xla must be "auto", "on" or "off", got {xla}')
        self.path = weights.shipped_model() if directory is None else exports.find_export(directory)
        gpu = bool(tf.config.list_physical_devices("GPU"))
        compiled = compiles(xla, precision, gpu)
        chosen = choose(precision, self.path, compiled)
        self.computed = {"device": "GPU" if gpu else "CPU", "precision": chosen, "xla": compiled,
                         "tensorflow": tf.__version__}
        self._run = self._load("xla" if compiled else "bfloat16" if chosen == "bfloat16" else "serving_default", gpu)

    def _load(self, name, gpu):
        """Returns a signature's function and reads the config."""
        with lazy.uncollected():
            model = safety.check_graph(self.path)
            try:
                self.config = configs.from_json((self.path / "assets" / "config.json").read_text())
                offered = model.meta_graphs[0].signature_def
                if name == "bfloat16" and name not in offered:
                    name = "serving_default"  # of an older version, which computes in bfloat16
                if name in offered:
                    return signature.load(self.path, model, name, optimize=gpu)
            except (OSError, ValueError, TypeError, KeyError, IndexError, tf.errors.OpError) as error:
                raise InputError(f"{self.path}: cannot be loaded as an exported cascade ({one_line(error)})") from error
        raise InputError(f"{self.path}: has no signature {name}, which is asked for here; choose another --xla, or "
                         f"export the cascade again")

    def predict(self, volume: Volume) -> Volume:
        """Segments a scan. Returns a Volume of uint8 class ids with the scan's geometry."""
        return self.explain(volume)[0]

    def explain(self, volume: Volume) -> tuple[Volume, dict]:
        """Segments a scan and reports the cascade's decisions.

        Args:
            volume: Volume in Hounsfield units, in canonical orientation as returned by scans.nifti.read_volume. Voxels
                that are not int16 are rounded and clipped to int16. The cascade uses spacing_mm, not the affine.

        Returns:
            (labels, report): a Volume of uint8 class ids with the scan's geometry, and the report described in
            serving/explain.py.

        Raises:
            InputError: if a voxel is NaN or infinite, or the scan is too large at the nets' spacing (scans/limits.py).
        """
        outputs = self._run(volume=tf.constant(explain.accepted(volume, self.config)),
                            spacing_mm=tf.constant(volume.spacing_mm, tf.float32))
        return explain.answer(volume, {name: value.numpy() for name, value in outputs.items()}, self.config)
