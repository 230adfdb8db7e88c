"""Tests predict.py --server over a real connection: the same labels as --model, and one-line errors.

The server is prediction_server.py, a separate process without this project's code and without Keras.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
import trustme
from harness import commands
from harness.patients import HU
from harness.tables import read_rows
from relays import Relay
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from kits_tf.errors import InputError
from kits_tf.scans.nifti import write_volume
from kits_tf.serving import Predictor, RemotePredictor, Server, client
from kits_tf.serving.__main__ import predict
from kits_tf.serving.server import is_loopback
from kits_tf.volume import Volume

ROOT = pathlib.Path(__file__).parents[2]
CLIENTS = 8
Code = grpc.StatusCode


@pytest.fixture(scope="module", params=["thresholds", pytest.param("cascade", marks=pytest.mark.soak)])
def export(request):
    """Version folder of an export: of two thresholds, and in make soak also of a whole cascade."""
    if request.param == "thresholds":
        return request.getfixturevalue("quick_export") / "1"
    return request.getfixturevalue("tiny_export")[2]


@pytest.fixture(scope="module")
def process(export):
    """The server's process, with an attribute `address`."""
    command = [sys.executable, str(pathlib.Path(__file__).with_name("prediction_server.py")), "--model", export]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.readline()
        assert said.startswith("port "), said
        process.address = f"localhost:{int(said.split()[1])}"
        yield process
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def server(process):
    return process.address


@pytest.fixture
def relay(server):
    with Relay(server) as relay:
        yield relay


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    """Shortens the waits between attempts."""
    config = dict(client.OPTIONS)["grpc.service_config"].replace('"0.5s"', '"0.02s"').replace('"10s"', '"0.1s"')
    monkeypatch.setattr(client, "OPTIONS", [*client.OPTIONS[:2], ("grpc.service_config", config), *client.OPTIONS[3:]])


@pytest.fixture(scope="module")
def scan(small_patient):
    return small_patient.with_voxels(HU[small_patient.voxels])


@pytest.fixture(scope="module")
def expected(export, scan):
    """(labels, report) of the same export, loaded in this process."""
    labels, report = Predictor(export).explain(scan)
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
    return labels.voxels, report


@pytest.fixture
def study(scan, tmp_path):
    """Two cases, the second one slice shorter."""
    write_volume(tmp_path / "study" / "case_00000" / "imaging.nii.gz", scan)
    shorter = Volume.from_spacing(scan.voxels[:-1], scan.spacing_mm)
    write_volume(tmp_path / "study" / "case_00001" / "imaging.nii.gz", shorter)
    return tmp_path / "study"


def rows(folder):
    return read_rows(folder / "summary.csv")


def test_labels_and_report_of_a_server_are_those_of_the_export_bit_for_bit(server, scan, expected):
    labels, report = RemotePredictor(server).explain(scan)
    assert labels.voxels.dtype == np.uint8
    assert np.array_equal(labels.voxels, expected[0])
    assert report == expected[1]


@pytest.mark.parametrize(("xla", "precision", "signature"), [
    ("on", "auto", "xla"), ("off", "float32", "serving_default"), ("auto", "auto", "serving_default"),
    ("auto", "bfloat16", "bfloat16")])
def test_the_signature_is_asked_for_by_name(relay, scan, xla, precision, signature):
    relay.fails = lambda *_: Code.ABORTED  # compiling takes too long for a test
    with pytest.raises(InputError):
        RemotePredictor(relay.address, xla=xla, precision=precision).predict(scan)
    assert [request.model_spec.signature_name for request in relay.seen] == [signature]


def test_a_proxy_is_asked_for_other_machines_alone_and_is_named_where_it_fails(process, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    assert RemotePredictor(process.address).version == 1
    with pytest.raises(InputError, match=r"no server answers .* in http_proxy.*no_proxy=192\.0\.2\.1"):
        RemotePredictor("192.0.2.1:8500", deadline_s=20)


@pytest.mark.parametrize(("host", "loopback"), [
    ("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True),
    ("localhost.example.org", False), ("10.0.0.1", False), ("2001:db8::1", False), ("0.0.0.0", False),
    ("::", False), ("", False)])
def test_this_machine_is_known_by_its_name_and_addresses(host, loopback):
    assert is_loopback(host) == loopback


def test_voxels_are_sent_as_int16(relay, scan):
    RemotePredictor(relay.address).predict(scan.with_voxels(scan.voxels.astype(np.float32) + 0.2))
    sent = relay.seen[0].inputs["volume"]
    assert sent.dtype == tf.int16.as_datatype_enum
    assert len(sent.tensor_content) == 2 * scan.voxels.size


def test_predict_writes_the_same_labels_and_report_with_a_server(export, server, study, tmp_path):
    assert predict(export, study, tmp_path / "here", overlay=False) == 0
    assert predict(None, study, tmp_path / "there", overlay=False, server=Server(server)) == 0
    for case in ("00000", "00001"):
        here, there = ((tmp_path / where / f"prediction_{case}.nii.gz").read_bytes() for where in ("here", "there"))
        assert here == there
        one, other = (json.loads((tmp_path / where / f"prediction_{case}.json").read_text())
                      for where in ("here", "there"))
        assert (one["computed"]["device"], other["computed"]["device"]) == ("CPU", "server")
        for place in ("model", "model_sha256", "made_from", "computed"):
            del one[place], other[place]
        assert one == other
    assert predict(None, study, tmp_path / "there", overlay=False, server=Server(server)) == 0
    assert [row["status"] for row in rows(tmp_path / "there")] == ["unchanged", "unchanged"]


def test_one_case_that_fails_leaves_the_others(relay, study, tmp_path, capsys):
    relay.fails = lambda request, _: Code.INTERNAL if request.inputs["volume"].tensor_shape.dim[0].size == 24 else None
    assert predict(None, study, tmp_path / "out", overlay=False, server=Server(relay.address)) == 1
    assert [row["status"] for row in rows(tmp_path / "out")] == ["failed", "done"]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert len(told) == 1 and "INTERNAL: as the test wanted" in told[0]
    assert told[0].startswith(f"failed: {study / 'case_00000' / 'imaging.nii.gz'}: {relay.address}: ")


def test_unavailable_is_tried_again(relay, scan, expected):
    relay.fails = lambda _, before: Code.UNAVAILABLE if before < 3 else None
    assert np.array_equal(RemotePredictor(relay.address).predict(scan).voxels, expected[0])
    assert len(relay.seen) == 4


def test_unavailable_is_not_tried_for_ever(relay, scan):
    relay.fails = lambda *_: Code.UNAVAILABLE
    with pytest.raises(InputError, match="no server answers"):
        RemotePredictor(relay.address).predict(scan)
    assert len(relay.seen) == 5


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED, Code.ABORTED])
def test_nothing_else_is_tried_again(relay, scan, code):
    relay.fails = lambda *_: code
    with pytest.raises(InputError, match="as the test wanted") as caught:
        RemotePredictor(relay.address).predict(scan)
    assert "\n" not in str(caught.value)
    assert len(relay.seen) == 1


def test_a_deadline_that_has_passed_is_one_line(relay, scan):
    relay.delay_s = 3.0
    with pytest.raises(InputError, match="no answer within 1 s; raise --server_deadline"):
        RemotePredictor(relay.address, deadline_s=1.0).predict(scan)


def test_a_scan_that_the_server_finds_too_large_is_one_line(relay):
    large = Volume.from_spacing(np.zeros((60, 200, 200), np.int16), (5, 2, 2))
    with pytest.raises(InputError, match=r"too large for the server .*raise its message size"):
        RemotePredictor(relay.address).predict(large)


def test_a_scan_that_no_message_can_hold_is_not_sent(relay):
    endless = np.broadcast_to(np.zeros((), np.int16), (4200, 512, 512))
    with pytest.raises(InputError, match=r"2\.2 GB as int16"):
        RemotePredictor(relay.address).predict(Volume.from_spacing(endless, (0.5, 1, 1)))
    assert not relay.seen


def test_1059_slices_of_64_x_64_pass_the_usual_limit_of_4_mb(server):
    air = Volume.from_spacing(np.full((1059, 64, 64), -1024, np.int16), (0.5, 6, 6))
    assert not RemotePredictor(server).predict(air).voxels.any()


def test_no_server_is_one_line():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=rf"{address}: no server answers .*--server") as caught:
        RemotePredictor(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("asked", "told"), [
    ({"model": "lungs"}, "has no model lungs .*--server_model"),
    ({"version": 7}, "has no model kits version 7 .*--server_version")])
def test_another_model_or_version_is_not_there(server, asked, told):
    with pytest.raises(InputError, match=told):
        RemotePredictor(server, **asked)


def test_a_model_without_our_signatures_is_one_line(relay, scan):
    relay.signature = "nonsense"
    with pytest.raises(InputError, match=r"does not accept the request .*nonsense.*was it exported by kits_tf"):
        RemotePredictor(relay.address).predict(scan)


@pytest.mark.parametrize(("inputs", "told"), [
    ({"volume": np.zeros((3, 4, 5), np.float32), "spacing_mm": np.ones(3, np.float32)}, "to be int16 but float32"),
    ({"volume": np.zeros((3, 4), np.int16), "spacing_mm": np.ones(3, np.float32)}, "another shape"),
    ({"volume": np.zeros((3, 4, 5), np.int16)}, "does not match"),
])
def test_the_stand_in_refuses_what_tensorflow_serving_refuses(server, inputs, told):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kits"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server) as channel, pytest.raises(grpc.RpcError, match=told) as caught:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    assert caught.value.code() == Code.INVALID_ARGUMENT


@pytest.fixture
def encrypted(server, tmp_path):
    """A relay with TLS; ours.pem is from the authority that signed its certificate, other.pem from another one."""
    ours, other = trustme.CA(), trustme.CA()
    own = ours.issue_cert("localhost")
    (tmp_path / "ours.pem").write_bytes("# Főtanúsítvány\n".encode() + ours.cert_pem.bytes())  # as in Mozilla's list
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())])
    with Relay(server, credentials) as relay:
        yield relay


def test_tls_is_used_where_a_certificate_authority_is_given(encrypted, scan, expected, tmp_path):
    remote = RemotePredictor(encrypted.address, ca=tmp_path / "ours.pem")
    assert np.array_equal(remote.predict(scan).voxels, expected[0])
    for ca in (tmp_path / "other.pem", None):
        with pytest.raises(InputError, match=r"no server answers .*--server_ca right"):
            RemotePredictor(encrypted.address, ca=ca)
    with pytest.raises(InputError, match=r"nowhere\.pem: cannot be read"):
        RemotePredictor("localhost:1", ca=tmp_path / "nowhere.pem")


@pytest.mark.parametrize("content", [
    b"", b"no certificate", b"\x30\x82\x01\xff\x00", trustme.CA().private_key_pem.bytes(),
    trustme.CA().cert_pem.bytes()[:-100]], ids=["empty", "text", "binary", "a key alone", "cut off"])
def test_a_file_without_a_certificate_is_named(tmp_path, content):
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(InputError, match=r"ca\.pem: contains no readable certificate; --server_ca expects"):
        RemotePredictor("localhost:1", ca=tmp_path / "ca.pem")


@pytest.mark.soak
def test_the_command_prints_one_line_for_another_authority(encrypted, scan, tmp_path):
    """Uses a new process, not a fork: gRPC reads its log level on import and prints without Python."""
    write_volume(tmp_path / "scan.nii.gz", scan)
    command = [sys.executable, "predict.py", f"--server={encrypted.address}", f"--server_ca={tmp_path / 'other.pem'}",
               f"--input={tmp_path / 'scan.nii.gz'}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.fullmatch(r"localhost:\d+: no server answers \(.*CERTIFICATE_VERIFY_FAILED.*--server_ca right\?",
                        done.stderr.strip())


def test_the_command_prints_one_line_for_a_file_without_a_certificate(scan, tmp_path):
    write_volume(tmp_path / "scan.nii.gz", scan)
    done = commands.run("predict.py", "--server=localhost:1", f"--server_ca={tmp_path / 'scan.nii.gz'}",
                        f"--input={tmp_path / 'scan.nii.gz'}", f"--output={tmp_path / 'out'}")
    assert done.returncode == 1
    assert re.fullmatch(r".*scan\.nii\.gz: contains no readable certificate; .*", done.stderr.strip())


def run_clients(address, scan, expected, seconds, process):
    """Runs eight clients at once; returns (latencies in s, faults, resident MiB of the server once per second)."""
    latencies, faults, resident = [], [], []
    end = time.monotonic() + seconds

    def one_client():
        try:
            remote = RemotePredictor(address)
            while time.monotonic() < end:
                began = time.monotonic()
                labels = remote.predict(scan).voxels
                latencies.append(time.monotonic() - began)
                if not np.array_equal(labels, expected):
                    faults.append("wrong labels")
        except Exception as error:
            faults.append(repr(error))

    clients = [threading.Thread(target=one_client) for _ in range(CLIENTS)]
    for one in clients:
        one.start()
    while any(one.is_alive() for one in clients):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        resident.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
        time.sleep(1.0)
    return latencies, faults, resident


def test_eight_clients_at_once_get_right_answers(process, scan, expected):
    latencies, faults, _ = run_clients(process.address, scan, expected[0], 1.0, process)
    assert not faults
    assert len(latencies) >= CLIENTS


@pytest.mark.soak
def test_eight_clients_for_five_minutes_leave_the_server_s_memory_flat(process, scan, expected, figure):
    latencies, faults, resident = run_clients(process.address, scan, expected[0], 300.0, process)
    early, late = (np.mean(part) for part in (resident[60:120], resident[-60:]))
    figure(f"{CLIENTS} clients, 300 s: {len(latencies)} scans, {len(faults)} faults, "
           f"median {np.median(latencies):.2f} s, 95 % within {np.percentile(latencies, 95):.2f} s, "
           f"server {early:.0f} MiB in the second minute, {late:.0f} MiB in the last")
    assert not faults
    assert late < early * 1.05


def test_the_newest_version_that_is_ready_answers(relay):
    relay.versions = [(3, "END"), (1, "AVAILABLE"), (12, "LOADING"), (10, "AVAILABLE"), (9, "AVAILABLE")]
    with pytest.raises(InputError, match=r"has no model kits version 10 \("):  # the server itself has only version 1
        RemotePredictor(relay.address)
