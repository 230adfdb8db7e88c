"""Runs an exported cascade on TensorFlow Serving over gRPC, with Predictor's interface. Needs no local model.

Sends volumes as int16 and receives labels as uint8: for a scan of 512 x 512 x 1059, 555 MB sent and 278 MB received.
gRPC retries with increasing delays only if the server is unavailable (UNAVAILABLE), since other failures would repeat.
"""

import hashlib
import json
import os
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
from kits_tf.errors import InputError, one_line
from kits_tf.serving import explain
from kits_tf.serving.precision import chosen
from kits_tf.serving.server import is_loopback
from kits_tf.volume import Volume

LARGEST_BYTES = 2**31 - 2**16  # of a scan's voxels; protobuf's limit is 2 GiB, the rest is for the other fields
RETRIES = {"maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "10s", "backoffMultiplier": 2,
           "retryableStatusCodes": ["UNAVAILABLE"]}
OPTIONS = [
    ("grpc.max_send_message_length", -1),  # no limit; gRPC's default of 4 MB is less than ten slices
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIES}]})),
    ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),  # gRPC does not retry a call that does not fit into this buffer
]
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # the environment variables that gRPC reads, in its order
AVAILABLE = get_model_status_pb2.ModelVersionStatus.State.Value("AVAILABLE")


class RemotePredictor:
    """A cascade on TensorFlow Serving. The constructor checks that the server has it ready.

    All calls use one version: the given one, or the newest at construction.

    Attributes:
        path: address, name and version of the model, for messages.
        version: the version in use.
        config: CascadeConfig of the export.
        digest: SHA-256 of the model's config and contents, which include the weights' SHA-256.
        computed: as of Predictor, without the server's device and TensorFlow version, which it does not report.

    Args:
        address: "HOST:PORT" of the server's gRPC port.
        model: the server's name for the model.
        version: number, or None for the newest.
        deadline_s: time limit for one scan in seconds, including retries.
        ca: PEM file of the certificate authority that signed the server's certificate; None for no encryption.
        xla: "on" for the compiled nets; "auto" and "off" for the signature that any server can run.
        precision: "bfloat16" for the signature of that name; "float32" and "auto" for the others.

    Raises:
        InputError: if the certificate file cannot be read, the server does not answer, has no such model ready, or the
            model is not a cascade of this package.
    """

    def __init__(self, address: str, model: str = "kits", version: int | None = None, deadline_s: float = 600.0,
                 ca: str | pathlib.Path | None = None, xla: str = "auto", precision: str = "auto") -> None:
        self.address, self._deadline_s = address, deadline_s
        self._signature = "xla" if xla == "on" else "bfloat16" if precision == "bfloat16" else "serving_default"
        self._spec = {"name": model, "version": version}
        self._channel = _channel(address, ca)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.version = self._spec["version"] = self._ready_version()
        self.path = f"{address}/{model}/{self.version}"
        about = self._ask("about", {})
        try:
            texts = [about[name].item() for name in ("config", "contents")]
            self.config = configs.from_json(texts[0])
            self.computed = {"device": "server", "xla": xla == "on", "tensorflow": None, "precision":
                             chosen(precision, texts[1], xla == "on", False, self.path)}
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{self.path}: this program cannot use the model ({one_line(error)})") from error
        self.digest = hashlib.sha256(b"".join(texts)).hexdigest()

    def predict(self, volume: Volume) -> Volume:
        """Segments a scan. Returns a Volume of uint8 class ids with the scan's geometry."""
        return self.explain(volume)[0]

    def explain(self, volume: Volume) -> tuple[Volume, dict]:
        """Segments a scan and reports the cascade's decisions, like Predictor.explain.

        Raises:
            InputError: if a voxel is NaN or infinite, the scan is too large for the nets or for a message, or the
                server fails.
        """
        voxels = explain.accepted(volume, self.config)
        if voxels.nbytes > LARGEST_BYTES:
            raise InputError(f"the scan has {voxels.nbytes / 1e9:.1f} GB as int16, but a message to a server is "
                             "limited to 2 GB; use --model instead of --server")
        outputs = self._ask(self._signature, {
            "volume": tf.make_tensor_proto(voxels), "spacing_mm": tf.make_tensor_proto(volume.spacing_mm, tf.float32)})
        missing = {"labels", "kidneys"} - outputs.keys()
        if missing:
            raise InputError(f"{self.path}: its answer has no {', '.join(sorted(missing))}; was it exported by "
                             f"kits_tf?")
        return explain.answer(volume, outputs, self.config)

    def _ready_version(self):
        """Returns the requested version, or the newest that is ready."""
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill(request.model_spec, self._spec)
        answer = self._call(model_service_pb2_grpc.ModelServiceStub(self._channel).GetModelStatus, request)
        ready = [status.version for status in answer.model_version_status if status.state == AVAILABLE]
        if not ready:
            raise InputError(f"{self.address}: {_named(self._spec)} is not ready; wait, or read the server's log")
        return max(ready)

    def _ask(self, signature, inputs):
        """Sends one request: takes TensorProtos by name, which it removes from the dict; returns arrays by name."""
        request = predict_pb2.PredictRequest()
        _fill(request.model_spec, self._spec)
        request.model_spec.signature_name = signature
        for name in list(inputs):
            request.inputs[name].CopyFrom(inputs.pop(name))  # so that a scan is not in memory twice
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def _call(self, method, request):
        try:
            return method(request, timeout=self._deadline_s)
        except grpc.RpcError as error:
            raise InputError(f"{self.address}: {self._explained(error)}") from error

    def _explained(self, error):
        """Returns the message for a gRPC error, worded for users of predict.py."""
        code, detail = error.code(), one_line(error.details())
        return {
            grpc.StatusCode.UNAVAILABLE:
                f"no server answers ({detail}); is it running, and are --server and --server_ca right?" + _proxied(
                    self.address),
            grpc.StatusCode.DEADLINE_EXCEEDED:
                f"no answer within {self._deadline_s:g} s; raise --server_deadline",
            grpc.StatusCode.RESOURCE_EXHAUSTED:
                f"the scan is too large for the server ({detail}); raise its message size, or use --model",
            grpc.StatusCode.NOT_FOUND:
                f"has no {_named(self._spec)} ({detail}); check --server_model and --server_version",
            grpc.StatusCode.INVALID_ARGUMENT:
                f"{_named(self._spec)} does not accept the request ({detail}); was it exported by kits_tf?",
            grpc.StatusCode.UNIMPLEMENTED:
                f"is not TensorFlow Serving ({detail})",
        }.get(code, f"{_named(self._spec)} failed ({code.name}: {detail})")


def _channel(address, ca):
    options = [*OPTIONS, ("grpc.enable_http_proxy", 0)] if is_loopback(address.rpartition(":")[0]) else OPTIONS
    if ca is None:
        return grpc.insecure_channel(address, options)
    try:
        certificates = pathlib.Path(ca).read_bytes()
    except OSError as error:
        raise InputError(f"{ca}: cannot be read ({error.strerror}); --server_ca expects a PEM file") from error
    try:  # with a bad certificate, gRPC would retry for seconds and then report that no server answers
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"{ca}: contains no readable certificate; --server_ca expects a PEM file") from error
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(certificates), options)


def _proxied(address):
    """Returns a hint for the message if gRPC asks a proxy for the server."""
    host, found = address.rpartition(":")[0], [name for name in PROXIES if os.environ.get(name)]
    if not found or is_loopback(host):
        return ""
    return f" gRPC used the proxy in {found[0]}; set no_proxy={host} to connect without it"


def _fill(model_spec, spec):
    model_spec.name = spec["name"]
    if spec["version"] is not None:
        model_spec.version.value = spec["version"]


def _named(spec):
    return f"model {spec['name']}" + (f" version {spec['version']}" if spec["version"] is not None else "")
