"""Size and speed of the web pages of a run in Chromium: a table of many cases, and the page of one case.

    python -m benchmarks.pages [--cases=1000]

The table has a picture for each case, and a warning for every fourth. The case is a noisy phantom. Chromium renders
without a graphics card here, so that the viewer is slower than on a desk.
"""

import contextlib
import os
import pathlib
import shutil
import statistics
import tempfile
import time

import numpy as np
import psutil
from absl import app, flags
from playwright.sync_api import sync_playwright

from benchmarks import scans, tables
from kits_tf.reporting.measurements import measure
from kits_tf.reporting.overlay import draw_overlay
from kits_tf.reporting.pages import write_case_page, write_library, write_run_page

FLAGS = flags.FLAGS
flags.DEFINE_integer("cases", 1000, "rows of the table", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "how often each is timed", lower_bound=1)
NOISE_HU = 15.0
CHROMIUM = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SORT = "document.querySelectorAll('th button')[4].click()"
FILTER = "document.querySelector('select').value = 'warned'; document.forms[0].dispatchEvent(new Event('input'))"


def write_table(folder, picture):
    """Writes the run page of FLAGS.cases cases with a picture each."""
    rows = []
    for number in range(FLAGS.cases):
        name = f"prediction_{number:05d}.png"
        os.link(picture, folder / name)
        rows.append({"case": f"case_{number:05d}", "status": "done", "kidneys": 2, "kidney_ml": 300.0 + number % 97,
                     "tumor_ml": number * 7 % 113 / 2, "tumors": number % 3, "largest_tumor_mm": number * 31 % 800 / 10,
                     "correction_used": False, "tumor_fallback_used": number % 5 == 0, "lesions_kept": 1,
                     "lesions_dropped": 0, "message": "" if number % 4 else "Its spacing of 8 mm along z is far from "
                     "the 3 mm that the nets were trained at.", "picture": folder / name,
                     "page": f"prediction_{number:05d}.html"})
    write_run_page(folder / "report.html", rows, "Predictions of a model")


def seconds_of(call):
    """Returns the wall-clock seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def processor_seconds():
    """Returns the processor time of the browser's processes, which other load on the machine hardly changes."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
    return total


def table_figures(browser, path):
    """Returns seconds to the first paint, the processor's for it, to sort and to filter; and the pictures read."""
    found = []
    for _ in range(FLAGS.rounds):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.wait_for_timeout(1000)  # until the process of the page has started
        began = processor_seconds()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        worked = processor_seconds() - began
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        sort, keep = (page.evaluate(f"() => {{ const began = performance.now(); {act}; document.body.offsetHeight; "
                                    f"return performance.now() - began; }}") / 1000 for act in (SORT, FILTER))
        pictures = page.evaluate("[...document.images].filter(image => image.naturalWidth).length")
        found.append((painted, worked, sort, keep, pictures))
        page.close()
    return [statistics.median(values) for values in zip(*found, strict=True)]


def viewer_seconds(browser, path):
    """Returns the seconds until the viewer of a case shows its first finding."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(300_000)
    seconds = seconds_of(lambda: (page.goto(path.as_uri()), page.wait_for_function("window.viewer")))
    page.close()
    return seconds


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    ct, labels = scans.made()
    noise = np.random.default_rng(0).normal(0, NOISE_HU, ct.voxels.shape)
    ct = ct.with_voxels((ct.voxels + noise).astype(np.int16))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        folder = pathlib.Path(scratch)
        draw_overlay(folder / "picture.png", ct, labels, "case")
        written = seconds_of(lambda: write_table(folder, folder / "picture.png"))
        browser = driver.chromium.launch(executable_path=program, args=CHROMIUM)
        painted, worked, sort, keep, pictures = table_figures(browser, folder / "report.html")
        tables.table(f"The table of a run of {FLAGS.cases} cases", ("what", "figure"), [
            ("report.html", f"{(folder / 'report.html').stat().st_size / 1e6:.2f} MB, written in {written:.2f} s"),
            ("a picture", f"{(folder / 'picture.png').stat().st_size / 1e3:.0f} kB; {pictures:.0f} are read at first"),
            ("first paint of the table", f"{painted:.2f} s"), ("processor time for it", f"{worked:.2f} s"),
            ("sorting by a column, layout included", f"{sort:.2f} s"), ("filtering, layout included", f"{keep:.2f} s"),
        ], f"`python -m benchmarks.pages`: medians of {FLAGS.rounds} in headless Chromium.")
        write_library(folder)
        report = {"case": "case_00000", "findings": measure(labels, ct)}
        writing = [seconds_of(lambda: write_case_page(folder / "case.html", ct, labels, report))
                   for _ in range(FLAGS.rounds + 1)][1:]
        opening = [viewer_seconds(browser, folder / "case.html") for _ in range(FLAGS.rounds)]
        shape = " x ".join(map(str, ct.voxels.shape))
        tables.table(f"The page of a case, {shape} voxels", ("what", "figure"), [
            ("page", f"{(folder / 'case.html').stat().st_size / 1e6:.1f} MB"),
            ("writing it", f"{statistics.median(writing):.1f} s"),
            ("until the viewer shows a finding", f"{statistics.median(opening):.1f} s without a graphics card"),
        ])
        browser.close()
    print(f"\nOn {tables.machine()}.")


if __name__ == "__main__":
    app.run(main)
