"""Opens a web page to segment CT scans: drop a NIfTI, a DICOM folder or a zip, look at the result, download it.

    python -m kits_tf.web
    python -m kits_tf.web --model=runs/demo/export --port=8000
    python -m kits_tf.web --host=0.0.0.0 --token=SECRET

The page is on this machine alone (127.0.0.1), unless --host says otherwise, which needs a --token. One scan is computed
at a time, the others wait. Scans and results are deleted --keep_hours after the upload, and are kept over a restart
until then. Needs the extra web: pip install "kits_tf[web]".
Exit status: 1 if the server could not start, 130 after Ctrl-C.
"""

import os
import pathlib
import signal
import socket
import sys
import threading
import urllib.parse
import webbrowser

from absl import flags

import kits_tf
from kits_tf import command, weights
from kits_tf.errors import InputError
from kits_tf.files import exports
from kits_tf.files.lock import only_writer
from kits_tf.quiet import is_verbose, say
from kits_tf.serving.server import is_loopback
from kits_tf.web import packages

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "exported cascade: the export folder (newest version) or one of its "
                    "versions; default: the model that ships")
flags.DEFINE_string("host", "127.0.0.1", "address to listen on; one that other machines can reach needs --token")
flags.DEFINE_integer("port", 8080, "port to listen on; 0: any that is free", lower_bound=0, upper_bound=65535)
flags.DEFINE_string("token", None, "secret without which the server answers nothing; the printed address contains it")
flags.DEFINE_list("public_hosts", [], "names under which a reverse proxy serves the page, such as scans.example.org")
flags.DEFINE_string("data_dir", "~/.local/share/kits_tf/web", "folder for uploads and results")
flags.DEFINE_float("max_upload_mb", 2048, "largest upload, in MB (2^20 bytes)", lower_bound=0.001)
flags.DEFINE_float("keep_hours", 24, "hours after which an upload and its result are deleted", lower_bound=0)
flags.DEFINE_boolean("browser", True, "open the page in the browser, if this machine has a screen")
BACKLOG = 128  # connections that may wait


def main() -> int:
    packages.check_installed()
    _check_token()
    model = weights.shipped_model() if FLAGS.model is None else exports.find_export(FLAGS.model)
    return serve(model.absolute(), pathlib.Path(FLAGS.data_dir).absolute())


def _check_token():
    token = FLAGS.token
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token and token):
        raise InputError("--token: expected letters, digits and signs without blanks around them")
    if token is None and not is_loopback(FLAGS.host):
        raise InputError(f"--host={FLAGS.host}: other machines can reach this address, so it needs a secret: give "
                         f"--token too")


def serve(model: pathlib.Path, folder: pathlib.Path) -> int:
    """Serves the page until it is stopped, and returns the exit status.

    Raises:
        InputError: if the address cannot be listened on, another server holds the folder, or the model cannot be
            loaded.
    """
    import uvicorn

    from kits_tf.web import runner
    from kits_tf.web.app import make_app
    from kits_tf.web.child import Child
    from kits_tf.web.guard import Guard
    from kits_tf.web.scans import Scans

    os.umask(0o077)  # what is uploaded is for this user alone
    trouble: list[str] = []
    with _listening(FLAGS.host, FLAGS.port) as listener, only_writer(folder, "--data_dir"):
        child = Child(model, is_verbose())
        scans = Scans(folder, FLAGS.keep_hours, child.kill)
        about = {"version": kits_tf.__version__, "model": model.name, "keep_hours": FLAGS.keep_hours,
                 "max_upload_mb": FLAGS.max_upload_mb}
        app = make_app(scans, int(FLAGS.max_upload_mb * 2**20), about)
        server = uvicorn.Server(uvicorn.Config(
            Guard(app, FLAGS.host, FLAGS.public_hosts, FLAGS.token), log_level="warning", access_log=False,
            server_header=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=1,
            timeout_keep_alive=30))

        def unusable(reason):
            trouble.append(reason)
            server.should_exit = True

        runner.start(scans, child, unusable)
        _announce(listener, folder)
        signal.signal(signal.SIGTERM, _end)
        try:
            server.run(sockets=[listener])
        finally:
            scans.close()
            child.kill()
    if trouble:
        raise InputError(trouble[0])
    return 0


def _end(number, frame):
    """Ends the process in order at SIGTERM: uvicorn sends the signal again when it has ended."""
    sys.exit(128 + number)


def _listening(host, port):
    """Returns a socket that listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                                flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise InputError(f"--host={host} --port={port}: cannot be listened on ({error.strerror}); is the server "
                         f"running already? Choose another --port") from error
    return listener


def _announce(listener, folder):
    """Prints the page's address, and opens it."""
    port = listener.getsockname()[1]
    host = socket.gethostname() if FLAGS.host in ("0.0.0.0", "::") else FLAGS.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    if FLAGS.token is not None:
        address += f"#token={urllib.parse.quote(FLAGS.token, safe='')}"
    print(address, flush=True)
    say(f"open this address in a browser; uploads and results are in {folder}, each for {FLAGS.keep_hours:g} hours; "
        f"Ctrl-C ends the server")
    if FLAGS.browser and any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {
        "Page": ("model", "browser", "max_upload_mb", "keep_hours", "data_dir"),
        "Network": ("host", "port", "token", "public_hosts")},
        "scans that are not done are queued again at the next start")


if __name__ == "__main__":
    run()
