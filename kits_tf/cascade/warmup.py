"""Requests that TensorFlow Serving replays when it loads an export, so that no patient waits for the first call.

One scan of bare air runs the cascade's own steps, and one batch or block through each net by its own signature runs
the nets, which a scan without kidneys would not reach. Nothing is asked of `xla`: a server built without XLA for its
platform would refuse to load the model for it.

Format: TFRecord of tensorflow.serving.PredictionLog (tensorflow.org/tfx/serving/saved_model_warmup).
"""

import pathlib
from collections.abc import Iterator

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from kits_tf import config as configs
from kits_tf.cascade.module import net_shape
from kits_tf.volume import AIR_HU

PLACE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
VOXELS, SPACING_MM = (24, 128, 128), (5.0, 3.0, 3.0)  # a small scan


def requests(config: configs.CascadeConfig) -> Iterator[predict_pb2.PredictRequest]:
    """The requests, a PredictRequest each; every tensor has one value, which a TensorProto stores once."""
    yield _request("serving_default", volume=tf.make_tensor_proto(AIR_HU, tf.int16, VOXELS),
                   spacing_mm=tf.make_tensor_proto(SPACING_MM, tf.float32))
    for stage in configs.STAGES:
        batch = 1 if stage == "tumor3d" else config.stage(stage).predict_batch
        yield _request(stage, image=tf.make_tensor_proto(0.0, tf.float32, (batch, *net_shape(stage, config))))


def write_requests(version: str | pathlib.Path, config: configs.CascadeConfig) -> None:
    """Writes the requests into a version folder."""
    path = pathlib.Path(version) / PLACE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests(config):
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _request(signature, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    return request
