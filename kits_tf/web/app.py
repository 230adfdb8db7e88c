"""The HTTP interface, and the page that uses it.

    POST   /api/scans                        multipart, parts named `file` -> 201 {"id"}
    GET    /api/scans                        the scans, the oldest first
    GET    /api/scans/{id}                   {"status", "stage", "message", "report", ...}
    GET    /api/scans/{id}/labels.nii.gz     also labels.dcm, report.json, scan.nii.gz; view.json for the page
    DELETE /api/scans/{id}                   cancels a scan and removes everything of it
    GET    /api/server                       versions and limits
    GET    /                                 the page

Errors are {"detail": sentence} with 400, 403 (guard.py), 404, 409 or 413.
"""

import pathlib
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response

from kits_tf import reporting
from kits_tf.web.errors import BAD, UNKNOWN, RefusalError, full_disk_refused
from kits_tf.web.recognize import recognize
from kits_tf.web.scans import FILES, UPLOAD, Scans
from kits_tf.web.upload import receive

STATIC = pathlib.Path(__file__).parent / "static"
REPORTING = pathlib.Path(reporting.__file__).parent
PAGE = {"/": STATIC / "index.html", "/page.js": STATIC / "page.js", "/style.css": STATIC / "style.css",
        "/niivue.umd.js": REPORTING / "niivue" / "niivue.umd.js", "/viewer.js": REPORTING / "static" / "viewer.js"}
TYPES = {".gz": "application/gzip", ".dcm": "application/dicom", ".json": "application/json", ".html": "text/html",
         ".js": "text/javascript", ".css": "text/css"}
DISCONNECTED = 499  # nobody reads this answer


def make_app(scans: Scans, most_bytes: int, about: dict) -> FastAPI:
    """Returns the app.

    Args:
        scans: the scans that the server holds.
        most_bytes: of an upload.
        about: JSON values that /api/server returns.
    """
    app = FastAPI(title="kits_tf", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.post("/api/scans", status_code=201)
    async def upload_scan(request: Request) -> dict:
        with full_disk_refused(), scans.receiving() as folder:
            upload = await receive(request, folder / UPLOAD, most_bytes)
            found = await run_in_threadpool(recognize, upload)
            scan = await run_in_threadpool(scans.add, folder, upload, found)
        return {"id": scan.id}

    @app.get("/api/scans")
    def list_scans() -> list:
        return scans.shown()

    @app.get("/api/scans/{scan_id}")
    def show_scan(scan_id: str) -> dict:
        return scans.show(scans.get(scan_id))

    @app.delete("/api/scans/{scan_id}", status_code=204)
    def delete_scan(scan_id: str) -> Response:
        scans.remove(scan_id)
        return Response(status_code=204)

    @app.get("/api/scans/{scan_id}/{name}")
    def send_file(scan_id: str, name: str) -> Response:
        scan = scans.get(scan_id)
        if name not in FILES:
            raise RefusalError(UNKNOWN, f"A scan has no such file; expected one of {', '.join(FILES)}.")
        return _file(scans.file(scan.id, name), name)

    @app.get("/api/server")
    def describe_server() -> dict:
        return about

    for path, file in PAGE.items():
        app.add_api_route(path, _sender(file), methods=["GET"], include_in_schema=False)
    app.add_exception_handler(RefusalError, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    return app


def _file(path, name):
    return FileResponse(path, media_type=TYPES[pathlib.Path(name).suffix], filename=name)


def _sender(path: pathlib.Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(path, media_type=TYPES[path.suffix])

    return send


async def _refused(request, error):
    return JSONResponse({"detail": error.detail, **error.more}, error.status)


async def _not_found(request, error):
    if error.status_code in (404, 405):
        return JSONResponse({"detail": f"There is no {request.method} {request.url.path}."}, UNKNOWN)
    return JSONResponse({"detail": str(error.detail)}, BAD)


async def _invalid(request, error):
    return JSONResponse({"detail": "The request is invalid: " + "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()) + "."}, BAD)


async def _gone(request, error):
    return Response(status_code=DISCONNECTED)


async def _failed(request, error):
    return JSONResponse({"detail": "The server failed at this request; its terminal says why."}, 500)
