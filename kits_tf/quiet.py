"""TensorFlow's own chatter, turned down for programs that people read the output of."""

import logging
import os

from absl import logging as absl_logging


def quiet_tensorflow():
    """Leaves warnings and errors; to be called before TensorFlow is imported. The environment's own setting wins."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
