"""Tests the page in a browser: drop, watch, look, save, cancel, delete, and the token."""

import re

import pytest
from harness import web
from playwright.sync_api import expect

from kits_tf.scans.nifti import read_labels

MS = 200_000  # on a busy machine; the worker takes seconds to start
EXPECTED = re.compile(r"GL Driver Message|status of 4\d\d|net::ERR_FAILED")


@pytest.fixture
def visit(browser):
    """Opens an address; the test fails if the page throws, or writes to the console what is not EXPECTED."""
    complaints = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(MS)

    def opened(address):
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(address)
        return page

    yield opened
    context.close()
    assert [text for text in complaints if not EXPECTED.search(text)] == []


@pytest.fixture
def empty(server):
    """The server, without the scans of earlier tests."""
    for shown in server.http.get("api/scans").json():
        server.http.delete(f"api/scans/{shown['id']}")
    return server


def drop(page, *paths):
    """Drops files and folders from the machine onto the page, as a hand does."""
    box = page.locator("#drop").bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2,
             "data": {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place})


def card(page, title):
    return page.locator("#scans li").filter(has=page.get_by_text(title, exact=True))


def wait_for_status(page, title, status):
    card(page, title).locator(f".status.{status}").wait_for()


def saved(page, title, name, folder):
    with page.expect_download() as download:
        card(page, title).locator(f"[name='{name}']").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_dropped_file_is_shown_and_its_labels_are_saved(visit, empty, tmp_path):
    page = visit(empty.address)
    page.get_by_text("None: this server holds no scan.").wait_for()
    drop(page, web.nifti(tmp_path, name="patient.nii.gz"))
    wait_for_status(page, "patient.nii.gz", "done")
    assert re.search(r"2 kidneys \(3 ml without tumor\), 1 tumor \(0\.4 ml, the largest",
                     card(page, "patient.nii.gz").inner_text())
    page.get_by_text("This server holds the images, labels and reports of 1 scan.").wait_for()
    labels = saved(page, "patient.nii.gz", "labels.nii.gz", tmp_path)
    assert labels.name == "patient_labels.nii.gz"
    assert read_labels(labels).voxels.shape == web.hu().shape
    assert saved(page, "patient.nii.gz", "report.json", tmp_path).name == "patient_report.json"
    assert card(page, "patient.nii.gz").locator("[name='labels.dcm']").count() == 0
    card(page, "patient.nii.gz").locator("[name=look]").click()
    page.locator("#viewer canvas").wait_for()
    page.get_by_text(re.compile(r"^The scan is shown ")).wait_for()
    assert page.inner_text("#look-heading") == "patient.nii.gz"
    rows = page.locator("#findings tbody tr")
    assert rows.first.locator("td").first.inner_text() == "kidney"
    rows.filter(has_text="tumor").locator("[name=show]").click()
    page.get_by_text(re.compile(r"^slice axial 3 of 6, .* 200 HU · tumor$")).wait_for()
    card(page, "patient.nii.gz").locator("[name=remove]").click()
    page.get_by_text("None: this server holds no scan.").wait_for()
    assert not page.locator("#look").is_visible()


def test_a_dropped_folder_of_dicom_is_one_scan_with_a_segmentation(visit, empty, tmp_path):
    page = visit(empty.address)
    folder = web.series(tmp_path / "CD" / "DICOM" / "SE1").parents[1]
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "README.TXT").write_text("hello")
    drop(page, folder)
    wait_for_status(page, "CD", "done")
    assert saved(page, "CD", "labels.dcm", tmp_path).read_bytes()[128:132] == b"DICM"


def test_of_several_series_the_user_chooses_one(visit, empty, tmp_path):
    page = visit(empty.address)
    for number in "12":
        web.series(tmp_path / "CD" / number, number=number)
    drop(page, tmp_path / "CD")
    wait_for_status(page, "CD", "choose")
    card(page, "CD").get_by_role("button", name="CT 2 'phase 2' with 6 files").click()
    wait_for_status(page, "CD", "done")
    assert "1 other CT series, left out" in card(page, "CD").inner_text()


def test_twenty_files_are_twenty_scans_and_a_broken_one_is_a_sentence(visit, empty, tmp_path):
    page = visit(empty.address)
    endless = empty.upload(web.nifti(tmp_path, endless=True))
    (tmp_path / "broken.nii.gz").write_bytes(b"not a scan")
    page.locator("#files").set_input_files([web.nifti(tmp_path, seed, name=f"{seed}.nii.gz") for seed in range(19)]
                                           + [tmp_path / "broken.nii.gz"])
    wait_for_status(page, "broken.nii.gz", "refused")
    assert "The upload has no scan that can be read" in card(page, "broken.nii.gz").inner_text()
    page.get_by_text("that are not done").wait_for()
    expect(page.locator("#scans .status.queued")).to_have_count(19, timeout=MS)
    card(page, "scan.nii.gz").locator(".steps .now").wait_for()
    card(page, "scan.nii.gz").locator("[name=remove]").click()
    expect(page.locator("#scans .status.done")).to_have_count(19, timeout=MS)
    assert empty.http.get(f"api/scans/{endless}").status_code == 404
    page.locator("#delete-all").click()
    page.get_by_text("None: this server holds no scan.").wait_for()
    assert [path.name for path in empty.data.iterdir()] == [".kits_tf.lock"]


def test_a_scan_continues_when_its_tab_is_closed_and_an_upload_does_not(visit, empty, tmp_path):
    page = visit(empty.address)
    page.locator("#files").set_input_files(web.nifti(tmp_path))
    card(page, "scan.nii.gz").locator(".status.queued, .status.running, .status.done").wait_for()
    page.close()
    empty.wait(empty.http.get("api/scans").json()[0]["id"])
    page = visit(empty.address)
    wait_for_status(page, "scan.nii.gz", "done")
    (tmp_path / "large.nii").write_bytes(bytes(10**8))
    page.route("**/api/scans", lambda route: None)  # the upload stays under way
    page.locator("#files").set_input_files(tmp_path / "large.nii")
    page.locator("#scans progress").wait_for()
    page.close(run_before_unload=False)
    assert len(empty.http.get("api/scans").json()) == 1


def test_an_upload_over_the_limit_is_not_sent(visit, secret_server, tmp_path):
    page = visit(secret_server.address)
    (tmp_path / "large.nii").write_bytes(bytes(2**21))
    page.locator("#files").set_input_files(tmp_path / "large.nii")
    wait_for_status(page, "large.nii", "refused")
    assert "It has 2 MB; this server takes at most 1 MB." in card(page, "large.nii").inner_text()


def test_the_token_comes_with_the_address_or_is_asked_for(visit, secret_server, tmp_path):
    page = visit(secret_server.address)
    page.locator("#main").wait_for()
    bare = secret_server.address.partition("#")[0]
    assert page.url == bare
    drop(page, web.nifti(tmp_path))
    wait_for_status(page, "scan.nii.gz", "done")
    assert saved(page, "scan.nii.gz", "labels.nii.gz", tmp_path).stat().st_size > 0
    other = visit(bare.replace("127.0.0.1", "localhost"))
    other.locator("#token").fill("wrong")
    other.locator("#token-form button").click()
    other.get_by_text("This token is wrong.").wait_for()
    other.locator("#token").fill("a b+c&")
    other.locator("#token-form button").click()
    wait_for_status(other, "scan.nii.gz", "done")


def test_the_page_says_that_the_server_is_gone(visit, empty):
    page = visit(empty.address)
    page.locator("#main").wait_for()
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_text("The server does not answer.").wait_for()
    page.unroute("**/api/**")
    page.get_by_text("The server does not answer.").wait_for(state="hidden")
