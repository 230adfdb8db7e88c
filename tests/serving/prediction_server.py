"""Replaces TensorFlow Serving in tests: its two gRPC services over an export, without this project's code.

    python tests/serving/prediction_server.py --model=EXPORT/VERSION

It loads the version with the session loader, as TensorFlow Serving does, replays the warm-up requests, and prints
"port N" when it is ready. It refuses the same requests as TensorFlow Serving, with the same status codes: another
model, version or signature, inputs of another name, type or rank. It exits when its standard input closes.
"""

import argparse
import pathlib
import sys
from concurrent import futures

for package in ("kits_tf", "keras", "tf_keras"):  # not available in TensorFlow Serving
    sys.modules[package] = None

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

NAME = "kits"
State = get_model_status_pb2.ModelVersionStatus.State


class RefusalError(Exception):
    """A refused request, with a status code and a reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class Model:
    """A version of the export, loaded by the session loader."""

    def __init__(self, path):
        self.version = int(path.name)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            self.meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        requests = path / "assets.extra" / "tf_serving_warmup_requests"
        for record in tf.compat.v1.io.tf_record_iterator(str(requests)) if requests.exists() else ():
            self.predict(prediction_log_pb2.PredictionLog.FromString(record).predict_log.request)

    def check(self, spec):
        if spec.name != NAME or (spec.HasField("version") and spec.version.value != self.version):
            raise RefusalError(grpc.StatusCode.NOT_FOUND,
                               f"Servable not found for request: {spec.name} {spec.version.value or 'latest'}")

    def predict(self, request):
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.meta.signature_def:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT,
                               f'Serving signature name: "{name}" not found in signature def')
        signature = self.meta.signature_def[name]
        if set(request.inputs) != set(signature.inputs):
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT,
                               f"input size does not match signature: {sorted(request.inputs)}")
        feeds = {}
        for key, tensor in request.inputs.items():
            expected = signature.inputs[key]
            if tensor.dtype != expected.dtype:
                raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT,
                                   f"Expects {key} to be {tf.as_dtype(expected.dtype).name} but "
                                   f"{tf.as_dtype(tensor.dtype).name} is provided")
            if not tf.TensorShape(expected.tensor_shape).is_compatible_with(tf.TensorShape(tensor.tensor_shape)):
                raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"{key} has another shape than the signature's")
            feeds[expected.name] = tf.make_ndarray(tensor)
        found = self.session.run({key: info.name for key, info in signature.outputs.items()}, feeds)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = NAME
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = name
        for key, value in found.items():
            response.outputs[key].CopyFrom(as_fields(value))
        return response


def as_fields(value):
    """Returns a TensorProto of single values instead of raw bytes, as TensorFlow Serving does by default."""
    tensor = tf.make_tensor_proto(value)
    if tensor.tensor_content:
        tensor.ClearField("tensor_content")
        fields = {"u": tensor.int_val, "i": tensor.int_val, "f": tensor.float_val, "b": tensor.bool_val}
        fields[value.dtype.kind].extend(value.ravel().tolist())
    return tensor


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802
        try:
            self.model.check(request.model_spec)
            return self.model.predict(request)
        except RefusalError as refused:
            return context.abort(refused.code, str(refused))
        except tf.errors.OpError as error:
            return context.abort(grpc.StatusCode.INTERNAL, error.message)


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, model):
        self.model = model

    def GetModelStatus(self, request, context):  # noqa: N802
        try:
            self.model.check(request.model_spec)
        except RefusalError as refused:
            return context.abort(refused.code, f"Could not find any versions of model {request.model_spec.name}")
        status = get_model_status_pb2.ModelVersionStatus(version=self.model.version, state=State.Value("AVAILABLE"))
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    options = parser.parse_args()
    model = Model(options.model)
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[  # 2 GiB, as in TensorFlow Serving
        ("grpc.max_receive_message_length", 2**31 - 1), ("grpc.max_send_message_length", 2**31 - 1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(model), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(model), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    print(f"port {port}", flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
