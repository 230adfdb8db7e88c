"""Warm-up requests that TensorFlow Serving replays when it loads an export, so that the first real call is fast.

A scan of air runs the cascade's own steps. One batch or block per stage, through the stage's own signature, runs the
nets, which a scan without kidneys does not reach. No request uses `xla`: a server without XLA for its platform would
refuse to load the model.

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
    """Yields the requests. Every tensor is constant, so its TensorProto stores one value."""
    yield _request("serving_default", volume=tf.make_tensor_proto(AIR_HU, tf.int16, VOXELS),
                   spacing_mm=tf.make_tensor_proto(SPACING_MM, tf.float32))
    for stage in configs.STAGES:
        batch = 1 if stage == "tumor3d" else config.stage(stage).predict_batch
        yield _request(stage, image=tf.make_tensor_proto(0.0, tf.float32, (batch, *net_shape(stage, config))))


def write_requests(version: str | pathlib.Path, config: configs.CascadeConfig) -> None:
    """Writes the requests into an export's version folder."""
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
