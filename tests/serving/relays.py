"""A server in this process that forwards calls to another server, with failures that a test chooses."""

import time
from concurrent import futures

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc


class Relay(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Forwards calls to another server.

    Attributes:
        address: the relay's own address.
        seen: PredictRequests for whole scans, in order of arrival.
        fails: a function of a request for a scan and the number of earlier ones; returns a status code or None.
        delay_s: delay of such requests, in seconds.
        signature: signature to ask the other server for; None for the one that the client asks for.
        versions: the model's versions and their states, as (10, "AVAILABLE"); if empty, the server is asked.
    """

    def __init__(self, address, credentials=None):
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self.seen, self.fails, self.delay_s, self.versions = [], lambda request, before: None, 0.0, []
        self.signature = None
        self._server = grpc.server(futures.ThreadPoolExecutor(4))  # with gRPC's default limit of 4 MB per message
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        port = (self._server.add_secure_port("localhost:0", credentials) if credentials
                else self._server.add_insecure_port("localhost:0"))
        self.address = f"localhost:{port}"
        self._server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()
        self._channel.close()

    def Predict(self, request, context):  # noqa: N802
        if request.model_spec.signature_name != "about":
            self.seen.append(request)
            code = self.fails(request, len(self.seen) - 1)
            if code is not None:
                context.abort(code, "as the test\nwanted")
            time.sleep(self.delay_s)
            request.model_spec.signature_name = self.signature or request.model_spec.signature_name
        return self._pass_on(self._predictions.Predict, request, context)

    def GetModelStatus(self, request, context):  # noqa: N802
        if not self.versions:
            return self._pass_on(self._models.GetModelStatus, request, context)
        status = get_model_status_pb2.ModelVersionStatus
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[
            status(version=version, state=status.State.Value(state)) for version, state in self.versions])

    @staticmethod
    def _pass_on(method, request, context):
        try:
            return method(request)
        except grpc.RpcError as error:
            return context.abort(error.code(), error.details())
