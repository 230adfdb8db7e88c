"""kits_tf: kidney and tumor segmentation in CT by a coarse-to-fine cascade of five small CNNs.

Floors (a file imports from its own floor or below; tests/test_floors.py reads the imports):

0 errors, labels, box, volume, config, quiet, lazy, heap, command  names, units and settings; what commands share
1 files, ops                   atomic writes, run folders; geometry as TensorFlow functions
2 scans, records, addons, models, losses, metrics
3 phantoms, inputs, cluster
4 cascade, training            cascade never imports training
5 serving, evaluation, reporting
6 train.py, predict.py, data_prep
"""

import os
import platform

# TensorFlow leaves oneDNN's kernels off on processors without AVX-512 VNNI or the like. With AVX2 alone a training step
# takes up to three times as long without them (benchmarks/README.md). It asks only once, while it is being imported.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
