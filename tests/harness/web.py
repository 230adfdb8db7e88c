"""The web server as a user starts it, and scans to upload to it.

`export_patient` exports two thresholds as a model that computes without end on a scan whose first voxel is ENDLESS_HU,
so that a test can look at a scan that runs, cancel it, or kill its process.
"""

import asyncio
import contextlib
import io
import pathlib
import time
import zipfile

import httpx
import numpy as np
import psutil

from harness import commands, dicom_series
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

ENDLESS_HU = -777
SPACING_MM = (3.0, 0.8, 0.9)
ENDED = ("done", "failed", "canceled")


def export_patient(directory):
    """Exports the model, as version 1."""
    import tensorflow as tf

    from harness import oracles
    from kits_tf import config as configs

    class Patient(oracles.Thresholds):
        @tf.function(input_signature=oracles.Thresholds.serve.input_signature, autograph=False)
        def serve(self, volume, spacing_mm):
            turns = tf.while_loop(lambda turn: tf.logical_and(turn >= 0, tf.equal(volume[0, 0, 0], ENDLESS_HU)),
                                  lambda turn: [(turn + 1) % 1000], [tf.constant(0)])
            outputs = oracles.Thresholds.serve.python_function(self, volume, spacing_mm)
            return {**outputs, "lesions_kept": outputs["lesions_kept"] + turns[0] * 0}

    module, version = Patient(), pathlib.Path(directory, "1")
    tf.saved_model.save(module, str(version), signatures={
        "serving_default": module.serve, "xla": module.serve, "about": module.about})
    (version / "assets" / "config.json").write_text(configs.to_json(module.config))


def hu(seed=0, endless=False):
    """Returns a small scan with kidney and tumor, (z, y, x), int16."""
    voxels = np.random.default_rng(seed).integers(-50, 50, (6, 40, 48)).astype(np.int16)
    voxels[1:5, 8:30, 6:26] = 120
    voxels[2:4, 12:22, 10:20] = 200
    voxels[0, 0, 0] = ENDLESS_HU if endless else 0
    return voxels


def nifti(folder, seed=0, endless=False, name="scan.nii.gz"):
    """Writes the scan as NIfTI and returns the path."""
    path = folder / name
    write_volume(path, Volume.from_spacing(hu(seed, endless), SPACING_MM))
    return path


def series(folder, seed=0, number="1"):
    """Writes the scan as a DICOM series and returns its folder."""
    return dicom_series.write_series(folder, dicom_series.slices_of(hu(seed), SPACING_MM, series=number))


def parts(*paths, names=None):
    """Returns files as httpx takes the parts of an upload, under their own names or others."""
    return [("file", (name, path.read_bytes())) for path, name in
            zip(paths, names or [path.name for path in paths], strict=True)]


def zipped(entries):
    """Returns a zip as bytes. `entries` maps a name, or a zipfile.ZipInfo, to bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


class Client:
    """Calls an ASGI app in this process, as httpx.Client calls a server."""

    def __init__(self, app, base_url="http://127.0.0.1:8080"):
        self._app, self._base_url = app, base_url

    def request(self, method, path, **options):
        async def call():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
                return await client.request(method, path, **options)

        return asyncio.run(call())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)


class Server:
    """A server that runs.

    Attributes:
        address: as it printed it.
        data: its folder.
        http: a client with its address as the base.
        process: its process.
    """

    def __init__(self, address, data, process):
        self.address, self.data, self.process = address, data, process
        self.http = httpx.Client(base_url=address.partition("#")[0], timeout=60)

    def upload(self, files):
        """Uploads parts, or one path, and returns the id."""
        answer = self.http.post("api/scans", files=parts(files) if isinstance(files, pathlib.Path) else files)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def wait(self, scan_id, *statuses, seconds=200):
        """Waits until a scan has one of the statuses (ENDED if none are given), and returns what is said of it."""
        end = time.monotonic() + seconds
        while True:
            scan = self.http.get(f"api/scans/{scan_id}").json()
            if scan.get("status") in (statuses or ENDED):
                return scan
            assert time.monotonic() < end, scan
            time.sleep(0.05)

    def worker(self):
        """Returns the worker's process (psutil)."""
        return next(child for child in psutil.Process(self.process.pid).children()
                    if "kits_tf.web.worker" in child.cmdline())


@contextlib.contextmanager
def serving(folder, model, *flags, seconds=100):
    """Starts the server on a free port, and ends it with the block.

    Args:
        folder: holds its output, and its data in "data".
        model: the export.
        flags: more flags.
        seconds: that it may take to print its address.
    """
    said = folder / f"said-{time.monotonic_ns()}.txt"
    words = ["-m", "kits_tf.web", f"--model={model}", f"--data_dir={folder / 'data'}", "--port=0", *flags]
    with commands.started(said, commands.command, *words) as process:
        end = time.monotonic() + seconds
        while not (said.exists() and "\n" in said.read_text()):
            assert time.monotonic() < end and process.is_alive(), said.read_text()
            time.sleep(0.02)
        yield Server(said.read_text().splitlines()[0], folder / "data", process)
        process.terminate()
        process.join(10)
        assert "Traceback" not in said.read_text(), said.read_text()
