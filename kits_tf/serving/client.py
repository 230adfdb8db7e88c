"""Runs an exported cascade that TensorFlow Serving holds: as Predictor does, by gRPC. Needs no model here.

Volumes travel as int16 and labels as uint8; a scan of 512 x 512 x 1059 is 555 MB one way and 278 MB the other. gRPC
itself tries again, a little later each time, where the server is not there for a moment (UNAVAILABLE), and nowhere
else: every other failure would happen again.
"""

import hashlib
import json
import pathlib
import ssl

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.serving import explain
from kits_tf.volume import Volume

LARGEST_BYTES = 2**31 - 2**16  # of a message; protobuf's limit of 2 GiB, with room for what is not voxels
RETRIES = {"maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "10s", "backoffMultiplier": 2,
           "retryableStatusCodes": ["UNAVAILABLE"]}
OPTIONS = [
    ("grpc.max_send_message_length", -1),  # gRPC's own limit, 4 MB, is less than ten slices
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIES}]})),
    ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),  # a call that does not fit is not tried again
]
AVAILABLE = get_model_status_pb2.ModelVersionStatus.State.Value("AVAILABLE")


class RemotePredictor:
    """A cascade behind TensorFlow Serving, known to be there and ready.

    One version answers all calls: without one being named, that which is newest now.

    Attributes:
        path: where the model is, for people to read.
        version: which one answers.
        config: CascadeConfig of the export.
        digest: SHA-256 of what the model says of itself, its weights included.

    Args:
        address: "HOST:PORT" of the server's gRPC.
        model: name that the server has for the model.
        version: number, or None for the newest.
        deadline_s: longest that one scan may take, all attempts together.
        ca: file of the certificate authority (PEM) that signed the server's certificate; None for no encryption.
        xla: "on" for the compiled nets; "auto" and "off" for the signature that any server can run.

    Raises:
        InputError: if the server does not answer, has no such model ready, or it is no cascade of ours.
    """

    def __init__(self, address: str, model: str = "kits", version: int | None = None, deadline_s: float = 600.0,
                 ca: str | pathlib.Path | None = None, xla: str = "auto") -> None:
        self.address, self._deadline_s = address, deadline_s
        self._signature = "xla" if xla == "on" else "serving_default"
        self._spec = {"name": model, "version": version}
        self._channel = _channel(address, ca)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.version = self._spec["version"] = self._ready_version()
        self.path = f"{address}/{model}/{self.version}"
        about = self._ask("about", {})
        try:
            texts = [about[name].item() for name in ("config", "contents")]
            self.config = configs.from_json(texts[0])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{self.path}: is no cascade that this program can use ({_one_line(error)})") from error
        self.digest = hashlib.sha256(b"".join(texts) + self._signature.encode()).hexdigest()

    def predict(self, volume: Volume) -> Volume:
        """Labels of a scan: a Volume of uint8 class ids in the scan's place."""
        return self.explain(volume)[0]

    def explain(self, volume: Volume) -> tuple[Volume, dict]:
        """Labels of a scan, and why: as Predictor.explain.

        Raises:
            InputError: if a voxel is NaN or infinite, the scan is too large for the nets or a message, or the server
                fails.
        """
        voxels = explain.accepted(volume, self.config)
        if voxels.nbytes > LARGEST_BYTES:
            raise InputError(f"the scan has {voxels.nbytes / 1e9:.1f} GB as int16, a message to a server holds 2 GB; "
                             "predict it with --model instead of --server")
        outputs = self._ask(self._signature, {
            "volume": tf.make_tensor_proto(voxels), "spacing_mm": tf.make_tensor_proto(volume.spacing_mm, tf.float32)})
        missing = {"labels", "kidneys"} - outputs.keys()
        if missing:
            raise InputError(f"{self.path}: its answer has no {', '.join(sorted(missing))}; is it a cascade of ours?")
        return explain.answer(volume, outputs, self.config)

    def _ready_version(self):
        """The version that answers: the one asked for, or the newest that is ready."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill(request.model_spec, self._spec)
        answer = self._call(model_service_pb2_grpc.ModelServiceStub(self._channel).GetModelStatus, request)
        ready = [status.version for status in answer.model_version_status if status.state == AVAILABLE]
        if not ready:
            raise InputError(f"{self.address}: {_named(self._spec)} is not ready there; wait, or see the server's log")
        return max(ready)

    def _ask(self, signature, inputs):
        """One prediction: TensorProto by name in, NumPy arrays by name out."""
        request = predict_pb2.PredictRequest()
        _fill(request.model_spec, self._spec)
        request.model_spec.signature_name = signature
        for name in list(inputs):
            request.inputs[name].CopyFrom(inputs.pop(name))  # a scan is not held twice
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def _call(self, method, request):
        try:
            return method(request, timeout=self._deadline_s)
        except grpc.RpcError as error:
            raise InputError(f"{self.address}: {self._explained(error)}") from error

    def _explained(self, error):
        """What a status means for whoever runs predict.py."""
        code, said = error.code(), _one_line(error.details())
        return {
            grpc.StatusCode.UNAVAILABLE:
                f"no server answers ({said}); is it running, and are --server and --server_ca right?",
            grpc.StatusCode.DEADLINE_EXCEEDED:
                f"no answer within {self._deadline_s:g} s; give it more by --server_deadline",
            grpc.StatusCode.RESOURCE_EXHAUSTED:
                f"the scan is too large for it ({said}); raise its message size, or predict with --model",
            grpc.StatusCode.NOT_FOUND:
                f"has no {_named(self._spec)} ({said}); see --server_model and --server_version",
            grpc.StatusCode.INVALID_ARGUMENT:
                f"{_named(self._spec)} does not take what is sent ({said}); is it a cascade exported by this program?",
            grpc.StatusCode.UNIMPLEMENTED:
                f"is no TensorFlow Serving ({said})",
        }.get(code, f"{_named(self._spec)} failed ({code.name}: {said})")


def _channel(address, ca):
    if ca is None:
        return grpc.insecure_channel(address, OPTIONS)
    try:
        certificates = pathlib.Path(ca).read_bytes()
    except OSError as error:
        raise InputError(f"{ca}: cannot be read ({error.strerror}), --server_ca expects a PEM file") from error
    try:  # gRPC itself would try for seconds, then say that no server answers
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"{ca}: holds no certificate that can be read, --server_ca expects a PEM file") from error
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(certificates), OPTIONS)


def _fill(model_spec, spec):
    model_spec.name = spec["name"]
    if spec["version"] is not None:
        model_spec.version.value = spec["version"]


def _named(spec):
    return f"model {spec['name']}" + (f" version {spec['version']}" if spec["version"] is not None else "")


def _one_line(error):
    return " ".join(str(error).split())[:300]
