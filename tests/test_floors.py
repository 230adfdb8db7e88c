"""Checks the house rules: imports against the floors listed in kits_tf/__init__.py, and the size of functions."""

import ast
import pathlib
import re

import pytest

import kits_tf

ROOT = pathlib.Path(kits_tf.__file__).parents[1]
FILES = [*sorted((ROOT / "kits_tf").rglob("*.py")), *sorted((ROOT / "data_prep").rglob("*.py")), ROOT / "train.py",
         ROOT / "predict.py"]
OURS = ("kits_tf", "data_prep", "train", "predict")
ONLY_IN = {"tensorflow_addons": {"kits_tf/addons.py"},
           "nibabel": {"kits_tf/scans/nifti.py", "kits_tf/scans/orientation.py"}}
LONGEST = 75  # lines of a function with its docstring: a screen and a half
MOST_PARAMETERS = 6
MEASURES = "its parameters are the measures of one organ or tissue, each given once"
EXCEPTIONS = {  # functions that may be larger, each with its reason
    "kits_tf/phantoms/body/bowel.py:_draw_loop": MEASURES,
    "kits_tf/phantoms/body/organs.py:_draw_lesions": MEASURES,
    "kits_tf/phantoms/body/shapes.py:fill_hollow": MEASURES,
    "kits_tf/phantoms/organs.py:hollow": MEASURES,
    "kits_tf/phantoms/parenchyma.py:tumor_tissue": MEASURES,
    "kits_tf/phantoms/artifacts.py:streak": "its defaults bind the variables of a loop",
    "kits_tf/phantoms/body/parenchyma.py:level": "its defaults bind the variables of a loop",
    "kits_tf/reporting/pages.py:write_case_page": "what a page shows, each from another source",
    "kits_tf/serving/client.py:__init__": "the fields of Server, and the two choices that Predictor has too",
    "benchmarks/real/slices.py:score_slice": "the columns of its row and what they are computed from",
}


def floors():
    """Reads the floor of each module from the table in the package's docstring: "1 ops   geometry…" and so on."""
    table = {}
    for line in kits_tf.__doc__.splitlines():
        row = re.fullmatch(r"(\d) ((?:[\w.]+, )*[\w.]+)(?:  .*)?", line)
        if row:
            table |= {name.removesuffix(".py"): int(row[1]) for name in row[2].split(", ")}
    return table


def unit_of(module):
    """Returns the unit that has a floor: ops for kits_tf.ops.crop, data_prep for data_prep.cases.

    Returns None for third-party modules and for kits_tf itself.
    """
    parts = module.split(".")
    if parts[0] not in OURS:
        return None
    return parts[0] if parts[0] != "kits_tf" else (parts[1] if len(parts) > 1 else None)


def imports(source, name):
    """Finds (modules, line, inside a function) of each import statement; `from a import b` may mean the module a.b.

    Also covers the late imports of lazy.load("a") and lazy.attach(__name__, b="a"), which may be inside a function.
    """
    tree = ast.parse(source)
    hidden = {id(node) for function in ast.walk(tree)
              if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(function)}
    package = list(pathlib.PurePosixPath(name).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            modules = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("lazy.load", "lazy.attach"):
            if name == "kits_tf/__init__.py":  # the package's own name for a function of a higher floor
                continue
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            yield [value.value for value in values if isinstance(value, ast.Constant)], node.lineno, False
            continue
        else:
            continue
        yield modules, node.lineno, id(node) in hidden


def violations(name, source):
    """Lists the forbidden imports of one file, named by its path from the root."""
    table, found = floors(), []
    own = unit_of(name.removesuffix(".py").replace("/", "."))
    if own not in table and name != "kits_tf/__init__.py":
        return [f"{name}: {own} has no floor in kits_tf/__init__.py"]
    for modules, line, hidden in imports(source, name):
        if hidden and pathlib.PurePosixPath(name).name != "__main__.py":
            found.append(f"{name}:{line} imports {modules[0]} inside a function")
        for module in modules:
            outside = module.split(".")[0]
            if name not in ONLY_IN.get(outside, {name}):
                found.append(f"{name}:{line} imports {outside}")
            if name == "kits_tf/scans/orientation.py" and outside == "nibabel" and module != "nibabel.orientations":
                found.append(f"{name}:{line} imports {module}, not only nibabel.orientations")
            unit = unit_of(module)
            if unit is None:
                continue
            if unit not in table:
                found.append(f"{name}:{line} imports {module}, which has no floor")
            elif table[unit] > table.get(own, 0):
                found.append(f"{name}:{line} imports {module} from floor {table[unit]}, it is on {table.get(own, 0)}")
            elif own == "cascade" and unit == "training":
                found.append(f"{name}:{line} imports {module}: the cascade never imports training")
    return found


def test_each_file_imports_from_its_own_floor_or_below():
    assert [found for path in FILES for found in violations(path.relative_to(ROOT).as_posix(), path.read_text())] == []


def test_every_floor_of_the_table_was_read_and_names_what_exists():
    table = floors()
    assert {table[name] for name in ("labels", "ops", "scans", "cluster", "cascade", "evaluation", "data_prep")} == {
        0, 1, 2, 3, 4, 5, 6}
    named = {unit_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in FILES} - {"__init__", None}
    assert named == set(table)


@pytest.mark.parametrize(("name", "source", "said"), [
    ("kits_tf/ops/crop.py", "from kits_tf.scans.discovery import stem", "from floor 2, it is on 1"),
    ("kits_tf/ops/crop.py", "import kits_tf.cascade.module", "from floor 4"),
    ("kits_tf/ops/crop.py", "from kits_tf import cluster", "kits_tf.cluster from floor 3"),
    ("kits_tf/ops/crop.py", "from .. import models", "kits_tf.models from floor 2"),
    ("kits_tf/ops/crop.py", "from ..inputs.sampling import draw", "from floor 3"),
    ("kits_tf/volume.py", "if True:\n    import kits_tf.ops", "volume.py:2 imports kits_tf.ops"),
    ("kits_tf/__init__.py", "from kits_tf.ops import crop", "it is on 0"),
    ("kits_tf/evaluation/scores.py", "import train", "train from floor 6"),
    ("kits_tf/cascade/export.py", "from kits_tf.training import task", "never imports training"),
    ("kits_tf/training/loop.py", "def f():\n    import json", "loop.py:2 imports json inside a function"),
    ("train.py", "def f():\n    import json", "train.py:2 imports json inside a function"),
    ("kits_tf/losses.py", "import tensorflow_addons as tfa", "imports tensorflow_addons"),
    ("data_prep/cases.py", "import nibabel as nib", "imports nibabel"),
    ("data_prep/cases.py", "from nibabel.orientations import io_orientation", "imports nibabel"),
    ("kits_tf/scans/orientation.py", "import nibabel as nib", "not only nibabel.orientations"),
    ("kits_tf/cascade/__init__.py", "lazy.attach(__name__, Task='kits_tf.training.task')", "never imports training"),
    ("kits_tf/ops/crop.py", "def f():\n    lazy.load('kits_tf.cascade.export')", "from floor 4, it is on 1"),
    ("kits_tf/gadgets/new.py", "", "gadgets has no floor"),
    ("kits_tf/ops/crop.py", "from kits_tf import gadgets", "which has no floor"),
])
def test_a_forbidden_import_is_named(name, source, said):
    found = violations(name, source)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(("name", "source"), [
    ("kits_tf/scans/nifti.py", "import nibabel as nib\nfrom kits_tf.scans.orientation import invert"),
    ("kits_tf/scans/orientation.py", "from nibabel import orientations"),
    ("kits_tf/training/loop.py", "from kits_tf.cascade import tiling\nfrom kits_tf.files import runs"),
    ("kits_tf/addons.py", "try:\n    import tensorflow_addons\nexcept ImportError:\n    pass"),
    ("data_prep/__main__.py", "def f():\n    from data_prep import cases"),
    ("train.py", "from kits_tf.training.__main__ import run"),
    ("kits_tf/training/__main__.py", "def f():\n    import tensorflow"),
])
def test_a_permitted_import_passes(name, source):
    assert violations(name, source) == []


def large_functions(name, source):
    """Yields file:function of each function that breaks LONGEST or MOST_PARAMETERS, with its size."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = len([one for one in given if one.arg not in ("self", "cls")])
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST or parameters > MOST_PARAMETERS:
                yield f"{name}:{node.name}", f"{lines} lines, {parameters} parameters"


def test_no_function_is_longer_than_a_screen_and_a_half_or_takes_more_than_six_parameters():
    files = [*FILES, *sorted((ROOT / "benchmarks").rglob("*.py"))]
    found = dict(large for path in files for large in large_functions(path.relative_to(ROOT).as_posix(),
                                                                      path.read_text()))
    assert {where: size for where, size in found.items() if where not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= set(found), "no exception is needed any more"


def test_a_large_function_is_named_with_its_size():
    long = "def f(self, a, b, c, d, e, g):\n" + "    pass\n" * LONGEST
    assert list(large_functions("x.py", long)) == [("x.py:f", f"{LONGEST + 1} lines, 6 parameters")]
    assert list(large_functions("x.py", "def f(a, b, c, d, e, *, g, h): pass")) == [("x.py:f", "1 lines, 7 parameters")]
    assert not list(large_functions("x.py", long.replace("    pass\n", "", 1)))
