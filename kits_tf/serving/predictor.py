"""Runs an exported cascade on Volumes. Needs the SavedModel alone: no net is built here."""

import pathlib

import tensorflow as tf

from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.files import exports
from kits_tf.serving import explain, safety
from kits_tf.volume import Volume


class Predictor:
    """A loaded cascade.

    Args:
        directory: an export folder (its newest version is taken) or one version of it.
        xla: "auto" (compiled nets where TensorFlow sees a GPU), "on" or "off".

    Raises:
        InputError: if there is no exported cascade in the folder, or it cannot be loaded, or its graph would do more
            than compute (serving/safety.py).
    """

    def __init__(self, directory: str | pathlib.Path, xla: str = "auto") -> None:
        if xla not in ("auto", "on", "off"):
            raise ValueError(f'xla must be "auto", "on" or "off", got {xla}')
        self.path = exports.find_export(directory)
        safety.check_graph(self.path)
        try:
            self.config = configs.from_json((self.path / "assets" / "config.json").read_text())
            self._model = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, TypeError, tf.errors.OpError) as error:
            raise InputError(f"{self.path}: cannot be loaded as an exported cascade "
                             f"({' '.join(str(error).split())[:200]})") from error
        compiled = xla == "on" or (xla == "auto" and bool(tf.config.list_physical_devices("GPU")))
        self._run = self._model.signatures["xla" if compiled else "serving_default"]

    def predict(self, volume: Volume) -> Volume:
        """Labels of a scan: a Volume of uint8 class ids in the scan's place."""
        return self.explain(volume)[0]

    def explain(self, volume: Volume) -> tuple[Volume, dict]:
        """Labels of a scan, and why.

        Args:
            volume: Volume in Hounsfield units, in canonical orientation as scans.nifti.read_volume returns any file;
                what is not int16 is rounded and clipped to it. Its spacing_mm counts, not its affine.

        Returns:
            (labels, report): a Volume of uint8 class ids in the scan's place, and the report that serving/explain.py
            describes.

        Raises:
            InputError: if a voxel is NaN or infinite, or the scan is larger than any body at the nets' spacing.
        """
        outputs = self._run(volume=tf.constant(explain.accepted(volume, self.config)),
                            spacing_mm=tf.constant(volume.spacing_mm, tf.float32))
        return explain.answer(volume, {name: value.numpy() for name, value in outputs.items()}, self.config)
