"""Tests the web pages in headless Chromium: loading without network, sorting, sliding, and a silent console."""

import shutil

import numpy as np
import pytest

from kits_tf.reporting.measurements import measure
from kits_tf.reporting.overlay import draw_overlay
from kits_tf.reporting.pages import write_case_page, write_run_page
from kits_tf.volume import Volume

NAME = 'a <b>& "quoted"'
PAGE = 'one #1 50%41 what?x="<é>.html'  # #, % and ? have a special meaning in a link


@pytest.fixture(scope="module")
def browser():
    """A browser of this machine; skips the test if there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens a file; the test fails if the page writes to the console, throws, or accesses the network."""
    complaints, page = [], browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url)
            if not request.url.startswith(("file:", "data:")) else None)

    def opened(path):
        page.goto(path.as_uri())
        return page

    yield opened
    page.close()
    assert complaints == []


def patient():
    """A scan of 14 slices, wider than deep, and labels: a kidney with a tumor in slices 4 to 9."""
    rng = np.random.default_rng(0)
    hu = rng.normal(40, 10, (14, 60, 100)).astype(np.int16)
    voxels = np.zeros(hu.shape, np.uint8)
    voxels[3:11, 20:40, 20:45] = 1
    voxels[6:8, 25:32, 25:36] = 2
    voxels[9, 25:28, 25:28] = 2
    return Volume.from_spacing(hu, (4.0, 1.0, 0.8)), Volume.from_spacing(voxels, (4.0, 1.0, 0.8))


@pytest.fixture
def run_folder(tmp_path):
    """A run page of three cases, one of which has its own page and image."""
    ct, labels = patient()
    report = {"case": NAME, "kidneys": 1, "warnings": ["Only one <kidney>."], "findings": measure(labels, ct),
              "spacing_mm_zyx": [4.0, 1.0, 0.8], "correction_used": False}
    write_case_page(tmp_path / PAGE, ct, labels, report, truth=labels)
    draw_overlay(tmp_path / "one.png", ct, labels, NAME)
    rows = [
        {"case": "good", "status": "done", "tk_dice": 0.97, "tu_dice": 0.9, "tumor_ml": 120.5, "message": ""},
        {"case": NAME, "status": "done", "tk_dice": 0.9, "tu_dice": 0.2, "tumor_ml": 9.25, "message": "x",
         "picture": tmp_path / "one.png", "page": PAGE},
        {"case": "broken", "status": "failed", "message": "broken.nii.gz: is cut short"},
    ]
    write_run_page(tmp_path / "report.html", rows, "A run")
    return tmp_path


def column(page, number):
    return page.eval_on_selector_all("tbody tr", f"rows => rows.map(row => row.cells[{number}].textContent.trim())")


def test_the_table_starts_with_what_needs_a_look_and_sorts(visit, run_folder):
    page = visit(run_folder / "report.html")
    assert column(page, 1) == ["broken", NAME, "good"]
    head = page.get_by_role("button", name="tumor ml")
    head.click()
    assert column(page, 1) == [NAME, "good", "broken"]  # as numbers: 9.25 before 120.5; nothing last
    head.click()
    assert column(page, 1) == ["good", NAME, "broken"]
    page.get_by_role("button", name="case", exact=True).click()
    assert column(page, 1) == [NAME, "broken", "good"]
    assert "2 of 3 cases done" in page.inner_text("p") and "1 failed" in page.inner_text("p")


def test_a_thumbnail_leads_to_the_case(visit, run_folder):
    page = visit(run_folder / "report.html")
    page.locator("img").click()
    assert page.inner_text("h1") == NAME
    assert page.inner_text(".warning") == "Only one <kidney>."


def test_a_name_leads_to_the_case_whatever_characters_it_has(visit, run_folder):
    page = visit(run_folder / "report.html")
    page.get_by_role("link", name=NAME, exact=True).click()
    assert page.inner_text("h1") == NAME
    assert page.url == (run_folder / PAGE).as_uri()


def test_the_slider_shows_slices_and_their_outlines(visit, run_folder):
    page = visit(run_folder / PAGE)
    assert page.inner_text("#where") == "slice 7 of 14, head to feet"  # where the tumor is largest
    outlines = "paths => paths.map(path => path.getAttribute('d').length > 0)"
    assert page.eval_on_selector_all("#view path", outlines) == [True] * 4
    before = page.get_attribute("#image", "src")
    page.locator("#slider").press("ArrowRight")
    page.locator("#slider").press("ArrowRight")
    assert page.inner_text("#where") == "slice 9 of 14, head to feet"
    assert page.get_attribute("#image", "src") != before
    assert page.eval_on_selector_all("#view path", outlines) == [True, False, True, False]
    page.mouse.move(300, 300)
    page.mouse.wheel(0, 100)
    page.wait_for_function("document.getElementById('where').textContent.startsWith('slice 10 ')")


def test_outlines_lie_on_the_picture_in_true_proportion(visit, run_folder):
    page = visit(run_folder / PAGE)
    view = page.locator("#view").bounding_box()
    assert view["width"] / view["height"] == pytest.approx(100 * 0.8 / 60, rel=0.01)
    assert page.locator("#view svg").bounding_box() == page.locator("#view img").bounding_box() == view
    box = "path => { const box = path.getBBox(); return [box.x, box.y, box.width, box.height]; }"
    kidney = page.eval_on_selector("#view path", box)
    assert kidney == pytest.approx([20, 20, 25, 20])  # in the image's voxels, from corner to corner


def test_outlines_can_be_hidden(visit, run_folder):
    page = visit(run_folder / PAGE)
    page.get_by_label("tumor", exact=True).uncheck()
    shown = page.eval_on_selector_all("#view path", "paths => paths.map(path => path.style.display !== 'none')")
    assert shown == [True, False, True, True]


def test_a_long_scan_shows_no_more_than_200_slices(tmp_path):
    voxels = np.zeros((601, 8, 10), np.uint8)
    labels = Volume.from_spacing(voxels, (1.0, 1.0, 1.0))
    write_case_page(tmp_path / "long.html", labels.with_voxels(voxels.astype(np.int16)), labels, {"case": "long"})
    assert (tmp_path / "long.html").read_text().count('"number":') == 151
