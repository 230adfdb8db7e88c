"""kits_tf: kidney and tumor segmentation in CT with a coarse-to-fine cascade of five small CNNs.

Floors: a file imports only from its own floor or from a lower one (tests/test_floors.py checks the imports).

0 errors, labels, box, volume, config, environment, quiet, lazy, device, heap, command  settings; what commands share
1 files, ops                   atomic writes, run folders; geometry as TensorFlow functions
2 scans, records, addons, models, losses, metrics, weights
3 phantoms, inputs, cluster
4 cascade, training            cascade never imports training
5 serving, evaluation, reporting
6 train.py, predict.py, data_prep, web
"""

import os
import platform

from kits_tf import lazy

__version__ = "0.1.0"

# By default TensorFlow does not use oneDNN's kernels on processors without AVX-512 VNNI or a similar extension. With
# AVX2 alone, a training step without them takes up to three times as long (benchmarks/README.md). TensorFlow reads the
# variable once, during import.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Segments an image in memory. It is imported at its first use: `import kits_tf` stays light.
__getattr__ = lazy.attach(__name__, segment="kits_tf.serving.images")
