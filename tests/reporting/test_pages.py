"""Tests the web pages in headless Chromium: opened from a folder, without a network, with a silent console."""

import base64
import gzip
import io
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from kits_tf.errors import InputError
from kits_tf.reporting.measurements import measure
from kits_tf.reporting.overlay import draw_overlay
from kits_tf.reporting.pages import HERE, LIBRARY, write_case_page, write_library, write_run_page
from kits_tf.scans.nifti import compressed
from kits_tf.volume import Volume

NAME = 'a <b>& "quoted"'
PAGE = 'one #1 50%41 what?x="<é>.html'  # #, % and ? have a special meaning in a link
PATIENCE_MS = 200_000  # a busy machine renders slowly without a graphics card
# Oblique by about 10 degrees, so that every number of the affine counts; axes near I, P, L.
AFFINE = np.array([[0.6, -0.15, -1.95, 31.0], [0.5, -1.48, 0.16, -12.0], [-3.9, -0.2, -0.4, 77.0], [0, 0, 0, 1]])


def visitor(browser):
    """Yields a function that opens a file; fails if a page writes to the console, throws, or accesses the network."""
    complaints, page = [], browser.new_page(viewport={"width": 640, "height": 480})
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url)
            if not request.url.startswith(("file:", "data:", "blob:")) else None)

    def opened(path):
        page.goto(path.as_uri())
        return page

    yield opened
    page.close()
    assert complaints == []


@pytest.fixture
def visit(browser):
    """As visitor, in the browser of the module."""
    yield from visitor(browser)


def patient():
    """A scan of 14 slices, wider than deep, oblique, and labels: a kidney with a tumor in slices 4 to 10.

    It lies in soft tissue of 40 HU, with a bright block at the patient's head, front and right.
    """
    hu = np.full((14, 60, 100), 40, np.int16)
    hu[1:4, 2:10, 3:15] = 1000
    voxels = np.zeros(hu.shape, np.uint8)
    voxels[3:11, 20:40, 20:45] = 1
    voxels[6:8, 25:32, 25:36] = 2
    voxels[9, 25:28, 25:28] = 2
    return Volume.from_affine(hu, AFFINE), Volume.from_affine(voxels, AFFINE)


def write_pages(folder):
    """Writes a run of three cases, of which one has a page, its picture and ground truth: its labels one voxel to the
    left."""
    ct, labels = patient()
    findings = measure(labels, ct)
    findings["tumors"][0]["confidence"] = 0.87
    report = {"case": NAME, "kidneys": 1, "warnings": ["Only one <kidney>."], "findings": findings,
              "spacing_mm_zyx": [4.0, 1.0, 0.8], "correction_used": False}
    write_library(folder)
    draw_overlay(folder / "one.png", ct, labels, NAME)
    write_case_page(folder / PAGE, ct, labels, report, labels.with_voxels(np.roll(labels.voxels, 1, 2)), "one.png",
                    (-79, 304))
    rows = [
        {"case": "good", "status": "done", "tk_dice": 0.97, "tu_dice": 0.9, "tumor_ml": 120.5, "message": "",
         "largest_tumor_mm": 61.0},
        {"case": NAME, "status": "done", "tk_dice": 0.9, "tu_dice": 0.2, "tumor_ml": 9.25, "message": "x",
         "largest_tumor_mm": 14.5, "picture": folder / "one.png", "page": PAGE},
        {"case": "broken", "status": "failed", "message": "broken.nii.gz: is cut short"},
    ]
    write_run_page(folder / "report.html", rows, "A run")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of write_pages, moved to another place."""
    folder = tmp_path_factory.mktemp("run") / "first"
    folder.mkdir()
    write_pages(folder)
    return folder.rename(folder.with_name("moved"))


@pytest.fixture(scope="module")
def case(browser, run_folder):
    """The page of a case with its viewer, shared by the tests; each sets what it looks at."""
    for opened in visitor(browser):
        page = opened(run_folder / PAGE)
        page.wait_for_function("window.viewer")
        yield page


def column(page, number):
    return page.eval_on_selector_all(
        "tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{number}].textContent.trim())")


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


def test_the_table_shows_only_what_is_asked_for(visit, run_folder):
    page = visit(run_folder / "report.html")
    kind, least = page.get_by_label("show"), page.get_by_label("largest tumor")
    for chosen, cases in (("failed", ["broken"]), ("with warnings", [NAME]), ("without warnings", ["good"])):
        kind.select_option(label=chosen)
        assert column(page, 1) == cases
    kind.select_option(label="all")
    least.fill("14.5")
    assert column(page, 1) == [NAME, "good"]
    least.fill("15")
    assert column(page, 1) == ["good"] and page.inner_text("output") == "1 of 3 shown"
    page.get_by_role("button", name="tumor ml").click()  # sorting keeps the filter
    assert column(page, 1) == ["good"]
    page.get_by_role("button", name="reset").click()
    page.get_by_label("case").fill("QUOTED")
    assert column(page, 1) == [NAME]


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


def test_thumbnails_are_loaded_when_they_come_into_view(visit, run_folder, tmp_path):
    rows = []
    for number in range(400):
        picture = tmp_path / f"prediction_{number:05d}.png"
        picture.symlink_to(run_folder / "one.png")
        rows.append({"case": f"case_{number:05d}", "status": "done", "message": "", "picture": picture})
    write_run_page(tmp_path / "report.html", rows, "A long run")
    page = visit(tmp_path / "report.html")
    loaded = "[...document.images].filter(image => image.complete && image.naturalWidth).length"
    page.wait_for_function(f"{loaded} > 0")
    assert page.evaluate(loaded) < 100
    assert page.evaluate("document.images[399].height") > 50  # room is kept, so that nothing moves
    page.evaluate("document.images[399].scrollIntoView()")
    page.wait_for_function("document.images[399].naturalWidth > 0")
    assert page.evaluate(loaded) < 200


def jump(page, zyx):
    """Moves the crosshair to a voxel of the scan; returns what the viewer says of it."""
    return page.evaluate("zyx => { viewer.goTo({centre_zyx: zyx}); return viewer.position(); }", zyx)


def picture(page, view, **state):
    """Returns the viewer's picture (rows, columns, 3) of one view at the first finding, without the crosshair."""
    state = {"fill": 0, "outlines": False, "hidden": [], "window": "soft tissue", "swapped": False, **state}
    page.evaluate("""([view, {fill, outlines, hidden, window, swapped}]) => {
        viewer.niivue.opts.crosshairWidth = 0;
        Object.assign(viewer, {fill, outlines, hidden: new Set(hidden)});
        if (viewer.swapped !== swapped) viewer.swap();
        if (viewer.windowChoice.value !== window) viewer.setWindow(window);
        if (viewer.view !== view) viewer.setView(view);
        if (view === "render") viewer.colorRendering();
        viewer.niivue.scene.pan2Dxyzmm = [0, 0, 0, 1];
        viewer.goTo(viewer.findings[0]);
    }""", [view, state])
    # A new view may change the canvas's size, which NiiVue follows in the next frame.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = page.evaluate("viewer.paint(), viewer.canvas.toDataURL().split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def places(image, color):
    """Returns the (rows, columns) of the pixels of a color, given as "#rrggbb"."""
    wanted = [int(color[at:at + 2], 16) for at in (1, 3, 5)]
    return np.nonzero((np.abs(image - wanted) <= 2).all(axis=2))


def voxel_under(page, row, column):
    """Returns the voxel (z, y, x) of the scan under a pixel of the picture as last drawn, not rounded."""
    page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    mm = page.evaluate("""([row, column]) => {
        const box = viewer.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio;
        return viewer.under({clientX: box.left + column / ratio, clientY: box.top + row / ratio}).mm;
    }""", [float(row), float(column)])
    return np.linalg.solve(AFFINE, [*mm, 1.0])[:3]


@pytest.mark.parametrize("zyx", [(0, 0, 0), (13, 59, 99), (2, 5, 7), (6, 28, 30), (11, 3, 80)])
def test_the_viewer_names_the_place_of_a_voxel_as_the_affine_does(case, zyx):
    found = jump(case, zyx)
    assert found["mm"] == pytest.approx((AFFINE @ [*zyx, 1])[:3], abs=1e-3)
    assert found["zyx"] == pytest.approx(zyx, abs=1e-3)
    ct, labels = patient()
    assert found["hu"] == ct.voxels[zyx]
    assert found["label"] == ["", "kidney", "tumor"][labels.voxels[zyx]]
    assert found["truth"] == ["", "kidney", "tumor"][np.roll(labels.voxels, 1, 2)[zyx]]
    z, y, x = (index + 1 for index in zyx)
    said = case.inner_text(".kits-viewer-place")
    assert said.startswith(f"slice axial {z} of 14, coronal {y} of 60, sagittal {x} of 100")


def test_niivue_places_its_voxels_as_nibabel_places_those_of_the_embedded_file(case):
    embedded = json.loads(case.inner_text("#data"))["volumes"]
    for kind, data in ((volume["kind"], base64.b64decode(volume["base64"])) for volume in embedded):
        image = nib.as_closest_canonical(nib.Nifti1Image.from_bytes(gzip.decompress(data)))
        for zyx in ((0, 0, 0), (2, 5, 7), (9, 26, 26)):
            jump(case, zyx)
            vox = case.evaluate("Array.from(viewer.niivue.frac2vox(viewer.niivue.scene.crosshairPos))")
            mm = case.evaluate("Array.from(viewer.niivue.frac2mm(viewer.niivue.scene.crosshairPos, 0, true))")
            assert (image.affine @ [*vox, 1])[:3] == pytest.approx(mm[:3], abs=1e-3)
            native = f"viewer.{kind}.getValue(...viewer.{kind}.mm2vox(viewer.mm), 0)"
            assert image.dataobj[tuple(vox)] == case.evaluate(native)


@pytest.mark.parametrize(("view", "block"), [("axial", ((2, 10), (3, 15))), ("coronal", ((1, 4), (3, 15))),
                                             ("sagittal", ((1, 4), (2, 10)))])
def test_right_front_and_head_are_where_radiologists_expect_them(case, view, block):
    jump(case, (2, 5, 7))
    case.evaluate("viewer.findings.unshift({centre_zyx: [2, 5, 7]})")
    image = picture(case, view)
    case.evaluate("viewer.findings.shift()")
    rows, columns = np.nonzero((image[..., 0] == image[..., 1]) & (image[..., 0] > 250))
    inside = np.nonzero(image.sum(axis=2) > 0)
    middle = [(side.min() + side.max()) / 2 for side in inside]
    bright = np.median(rows), np.median(columns)
    assert bright[0] < middle[0] and bright[1] < middle[1]  # up: front or head; left: the patient's right or front
    # The middle of the bright pixels is the middle of the block.
    axes = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}[view]
    at = voxel_under(case, *bright)
    assert [at[axis] for axis in axes] == pytest.approx([(first + last - 1) / 2 for first, last in block], abs=0.3)


def test_outlines_lie_around_the_labels(case):
    image = picture(case, "axial", outlines=True)
    for color, (front, back), (right, left) in (("#56b4e9", (20, 40), (20, 45)), ("#ff8c1a", (25, 32), (25, 36))):
        rows, columns = places(image, color)
        first, last = voxel_under(case, rows.min(), columns.min()), voxel_under(case, rows.max() + 1, columns.max() + 1)
        assert [*first[1:], *last[1:]] == pytest.approx([front - 0.5, right - 0.5, back - 0.5, left - 0.5], abs=0.2)
    rows, columns = places(image, "#fff04d")  # the true tumor, dashed
    assert voxel_under(case, rows.max() + 1, columns.max() + 1)[2] == pytest.approx(36.5, abs=0.2)


def test_labels_can_be_filled_outlined_hidden_and_swapped(case):
    kidney, tumor, true_tumor = "#56b4e9", "#ff8c1a", "#fff04d"

    def count(color, **state):
        return len(places(picture(case, "axial", **state), color)[0])

    assert count(kidney) == count(tumor) == count(true_tumor) == 0
    lines = count(kidney, outlines=True)
    assert 0 < lines < count(kidney, fill=1) / 5
    assert count(kidney, outlines=True, hidden=["kidney"]) == 0 < count(tumor, outlines=True, hidden=["kidney"])
    assert count(true_tumor, outlines=True, hidden=["otherTumor"]) == 0 < count(true_tumor, outlines=True)
    rows, columns = places(picture(case, "axial", fill=1, swapped=True), kidney)
    assert voxel_under(case, rows.max() + 1, columns.max() + 1)[2] == pytest.approx(45.5, abs=0.2)
    assert case.inner_text(".kits-viewer-legend") .split("\n") == [
        "true kidney", "true tumor", "predicted kidney", "predicted tumor"]
    picture(case, "axial")
    case.get_by_label("tumor", exact=True).uncheck()
    assert case.evaluate("[...viewer.hidden]") == ["tumor"]
    case.get_by_label("tumor", exact=True).check()


def test_a_click_on_a_finding_jumps_to_it(case):
    jump(case, (0, 0, 0))
    case.locator("button[data-finding='0']").click()
    shown = case.inner_text(".kits-viewer-place")
    assert shown.startswith("slice axial 7 of 14") and shown.endswith("tumor, truth: tumor")
    assert case.locator("button[aria-current=true]").count() == 1
    assert "0.87" in case.inner_text(".tables table >> nth=0") and "Only one <kidney>." in case.inner_text("body")


def test_presets_set_the_window(case):
    options = case.eval_on_selector_all("select option", "options => options.map(option => option.textContent)")
    assert [option.split(" (")[0] for option in options] == ["soft tissue", "bone", "lung", "nets", "by hand"]
    case.locator("select").select_option("nets")
    assert case.evaluate("[viewer.scan.cal_min, viewer.scan.cal_max]") == [-79, 304]
    gray = picture(case, "axial", window="nets")
    assert np.bincount(gray[..., 0].ravel()).argsort()[-1] == pytest.approx(255 * (40 + 79) / 383, abs=2)
    case.locator(".kits-viewer").press("2")
    assert case.evaluate("[viewer.scan.cal_min, viewer.scan.cal_max]") == [-500, 1300]
    assert case.locator("select").input_value() == "bone"


def test_keys_and_wheel_scroll_zoom_and_help(case):
    viewer = case.locator(".kits-viewer")
    picture(case, "planes")

    def slices():
        return [round(index) for index in case.evaluate("viewer.position().zyx")]

    start = slices()
    viewer.press("ArrowUp")
    assert slices() == [start[0] - 1, *start[1:]]  # towards the head
    viewer.press("ArrowRight")
    assert slices() == [start[0] - 1, start[1], start[2] + 1]  # the patient's left
    viewer.press("c")
    viewer.press("ArrowUp")
    assert slices()[1] == start[1] - 1  # to the front
    viewer.press("s")
    viewer.press("ArrowUp")
    assert slices()[2] == start[2]  # to the patient's right
    viewer.press("a")
    viewer.press("p")  # the previous finding is the last one
    assert case.evaluate("viewer.finding") == case.evaluate("viewer.findings.length - 1")
    viewer.press("n")
    assert case.evaluate("viewer.finding") == 0
    before = slices()
    box = case.locator("canvas").bounding_box()
    case.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    case.mouse.wheel(0, 100)
    case.wait_for_function(f"Math.round(viewer.position().zyx[0]) === {before[0] + 1}")  # down: towards the feet
    here = voxel_under(case, box["height"] / 2, box["width"] / 2)  # stays under the mouse
    case.keyboard.down("Control")
    case.mouse.wheel(0, -100)
    case.keyboard.up("Control")
    case.wait_for_function("viewer.niivue.scene.pan2Dxyzmm[3] > 1")
    assert voxel_under(case, box["height"] / 2, box["width"] / 2) == pytest.approx(here, abs=0.5)
    viewer.press("0")
    assert case.evaluate("viewer.niivue.scene.pan2Dxyzmm[3]") == 1
    viewer.press("?")
    assert "next, previous finding" in case.inner_text("dialog")
    case.keyboard.press("Escape")
    assert not case.locator("dialog").is_visible()


def test_a_double_click_enlarges_a_view(case):
    picture(case, "planes")
    box = case.locator("canvas").bounding_box()
    case.mouse.dblclick(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert case.get_by_role("button", name="coronal").get_attribute("aria-pressed") == "true"
    case.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert case.get_by_role("button", name="three planes").get_attribute("aria-pressed") == "true"


def test_the_rendering_shows_a_tumor_within_its_kidney(case):
    def count(**state):
        image = picture(case, "render", **state)
        return [np.count_nonzero(image[..., one] > image[..., other] + 40) for one, other in ((2, 0), (0, 2))]

    blue, alone, tumor = count(), count(hidden=["tumor"]), count(hidden=["kidney"])
    assert alone[0] > blue[0] + 100 and tumor[1] > 100  # the tumor shows through the kidney


def test_the_picture_can_be_saved(case):
    picture(case, "axial")
    with case.expect_download() as saved:
        case.get_by_role("button", name="save picture").click()
    assert saved.value.suggested_filename.endswith("_slice_7.png")
    with Image.open(saved.value.path()) as image:
        assert image.size == tuple(case.evaluate("[viewer.canvas.width, viewer.canvas.height]"))
        assert np.asarray(image.convert("L")).max() > 100


def test_without_webgl_the_page_says_so_and_shows_the_overlay(launch, run_folder):
    browser = launch("--no-sandbox", "--disable-3d-apis")
    for visit in visitor(browser):
        page = visit(run_folder / PAGE)
        assert page.inner_text("#problem").startswith("This browser has no WebGL 2")
        page.wait_for_function("document.querySelector('#picture img').naturalWidth > 1000")
        assert page.locator("button[data-finding='0']").is_disabled()
        assert page.inner_text("table >> nth=0").startswith("tumor")
    browser.close()


def test_without_the_library_the_page_says_so(browser, run_folder, tmp_path):
    shutil.copy(run_folder / PAGE, tmp_path / "alone.html")
    page = browser.new_page()
    page.goto((tmp_path / "alone.html").as_uri())
    assert page.inner_text("#problem").startswith("The viewer, NiiVue, is missing")
    page.close()


def test_the_library_has_its_license_and_keeps_a_file_of_the_users(tmp_path):
    write_library(tmp_path)
    head = (tmp_path / LIBRARY).read_text()[:2000]
    assert re.match(r"/\*! NiiVue \d+\.\d+\.\d+", head) and "BSD 2-Clause License" in head
    written = (tmp_path / LIBRARY).stat().st_mtime_ns
    write_library(tmp_path)
    assert (tmp_path / LIBRARY).stat().st_mtime_ns == written
    (tmp_path / LIBRARY).write_text("mine")
    with pytest.raises(InputError, match="niivue"):
        write_library(tmp_path)
    assert (tmp_path / LIBRARY).read_text() == "mine"


def test_the_viewer_takes_scans_by_url_in_any_axis_order(browser, run_folder):
    """As another web page may use it: without a grid, findings are voxels of the scan from head to feet."""
    ct, labels = patient()
    files = {}
    for codes in ("RAS", "IPL", "PSR"):
        transform = nib.orientations.ornt_transform(nib.orientations.io_orientation(AFFINE),
                                                    nib.orientations.axcodes2ornt(codes))
        for name, volume in (("scan", ct), ("labels", labels)):
            image = nib.Nifti1Image(nib.orientations.apply_orientation(volume.voxels, transform),
                                    AFFINE @ nib.orientations.inv_ornt_aff(transform, volume.voxels.shape))
            files[f"http://kits.test/{codes}/{name}"] = gzip.compress(image.to_bytes())
    (run_folder / "bare.html").write_text(
        f'<script src="{LIBRARY}"></script><script>{(HERE / "static" / "viewer.js").read_text()}</script>'
        '<div id="here" style="height: 400px"></div>')
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
    page = browser.new_page(viewport={"width": 640, "height": 480})
    page.set_default_timeout(PATIENCE_MS)
    page.route("http://kits.test/**", lambda route: route.fulfill(body=files[route.request.url], headers=allowed))
    page.goto((run_folder / "bare.html").as_uri())
    for codes in ("RAS", "IPL", "PSR"):
        page.evaluate("""async codes => {
            const headers = {Authorization: "Bearer x"};
            window.viewer = await kitsViewer.open(document.getElementById("here"), {volumes: [
                {kind: "scan", url: `http://kits.test/${codes}/scan`, headers},
                {kind: "labels", url: `http://kits.test/${codes}/labels`, headers}]});
        }""", codes)
        for zyx in ((2, 5, 7), (6, 28, 30), (13, 0, 99)):
            found = jump(page, zyx)
            assert found["mm"] == pytest.approx((AFFINE @ [*zyx, 1])[:3], abs=1e-3)
            assert found["zyx"] == pytest.approx(zyx, abs=1e-3)
            assert (found["hu"], found["label"]) == (ct.voxels[zyx], ["", "kidney", "tumor"][labels.voxels[zyx]])
        page.evaluate("viewer.close(), document.getElementById('here').dispatchEvent(new KeyboardEvent('keydown', "
                      "{key: 'n'}))")
        assert page.inner_html("#here") == ""
    page.close()


def test_what_cannot_be_shown_is_a_sentence(case):
    refused = """async volumes => {
        const element = document.body.appendChild(document.createElement("div"));
        try { await kitsViewer.open(element, {volumes}); } catch (error) { return error.message; }
        finally { element.remove(); }
    }"""
    scan, labels, _ = json.loads(case.inner_text("#data"))["volumes"]
    broken = {"kind": "scan", "base64": base64.b64encode(b"no scan").decode()}
    assert case.evaluate(refused, [broken]).startswith("The scan could not be read")
    small = Volume.from_affine(np.zeros((2, 3, 4), np.uint8), AFFINE)
    other = {"kind": "labels", "base64": base64.b64encode(compressed(small)).decode()}
    assert case.evaluate(refused, [scan, other]) == "The labels do not have the scan's shape."
    assert case.evaluate(refused, [labels]) == "There is no scan to show."
