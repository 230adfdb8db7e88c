"""Runs an export with the session loader, as TensorFlow Serving does, without this project's code or Keras.

    python tests/serving/session_loader.py EXPORT/VERSION INPUTS.npz OUTPUTS.npz

INPUTS contains arrays named SIGNATURE/INPUT; OUTPUTS gets SIGNATURE/OUTPUT of every signature in INPUTS.
"""

import sys

for package in ("kits_tf", "keras", "tf_keras"):
    sys.modules[package] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main(version, inputs, outputs):
    given = dict(np.load(inputs))
    found = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], version).signature_def
        for name in sorted({key.split("/")[0] for key in given}):
            signature = signatures[name]
            feeds = {info.name: given[f"{name}/{key}"] for key, info in signature.inputs.items()}
            answer = session.run({key: info.name for key, info in signature.outputs.items()}, feeds)
            found |= {f"{name}/{key}": value for key, value in answer.items()}
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
