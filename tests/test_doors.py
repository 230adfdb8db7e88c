"""Security checks: files are never run as programs, servers listen on loopback only, dependencies have ranges."""

import ast
import pathlib
import re
import tomllib

import pytest

import kits_tf

ROOT = pathlib.Path(kits_tf.__file__).parents[1]
CODE = [*sorted((ROOT / "kits_tf").rglob("*.py")), *sorted((ROOT / "data_prep").rglob("*.py")), ROOT / "train.py",
        ROOT / "predict.py"]
OURS = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path.name not in ("build", "runs")]
DOCS = [path for place in OURS for path in sorted((place, *place.rglob("*")))
        if path.suffix in (".md", ".ipynb", ".yml", ".yaml", ".sh")]
REQUIREMENTS = [*sorted(ROOT.glob("requirements*.txt")), ROOT / "notebooks" / "requirements.txt"]

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "Lambda", "system", "popen", "enable_unsafe_deserialization"}


def executing(source):
    """Returns (line, name) of each construct in a file that can execute data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [(node.lineno, name) for name in names if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        if name in CALLS and not (name == "compile" and isinstance(node.func, ast.Attribute)):  # re.compile
            found.append((node.lineno, name))
        if name == "load_model" and said.get("safe_mode") is not True:
            found.append((node.lineno, "load_model without safe_mode=True"))
        if said.get("safe_mode") is False or said.get("allow_pickle") or said.get("shell"):
            found.append((node.lineno, name))
    return found


def test_nothing_that_is_read_is_run():
    assert [(path, found) for path in CODE if (found := executing(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize("source", [
    "import pickle", "from joblib import load", "import yaml.loader", "eval(text)", "builtins.exec(text)",
    "tf.keras.layers.Lambda(f)", "keras.models.load_model(path)", "keras.models.load_model(path, safe_mode=False)",
    "np.load(path, allow_pickle=True)", "subprocess.run(text, shell=True)", "os.system(text)",
    "keras.config.enable_unsafe_deserialization()", "def f():\n    import dill"])
def test_code_that_can_execute_data_is_found(source):
    assert len(executing(source)) >= 1


@pytest.mark.parametrize("source", [
    "import re\nre.compile(1)", "keras.models.load_model(path, safe_mode=True)", "np.load(path)",
    "net.load_weights(path)",    "subprocess.run(['a'], shell=False)", "lambda value: value"])
def test_code_that_executes_no_data_is_not_found(source):
    assert executing(source) == []


def open_ports(text):
    """Returns the parts of a document that open a port to other machines."""
    found = re.findall(r"0\.0\.0\.0|\[::\]|--bind_all\b|--ip=\*", text)
    # docker's -p 8500:8500 listens on every address; 127.0.0.1:8500:8500 does not.
    published = re.findall(r"(?:^|\s)(?:-p|--publish)[= ]+([\w.:/$-]+)", text)
    return found + [ports for ports in published if ":" in ports and not ports.startswith("127.0.0.1:")]


def test_servers_in_documents_listen_to_this_machine_alone():
    assert [(path, found) for path in DOCS if (found := open_ports(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(("text", "count"), [
    ("docker run -p 8500:8500 serving", 1), ("docker run -p 127.0.0.1:8500:8500 serving", 0), ("mkdir -p a/b", 0),
    ("docker run --publish=8501:8501", 1), ("server --host=0.0.0.0", 1), ("tensorboard --bind_all", 1),
    ("dask scheduler --host 127.0.0.1", 0)])
def test_an_open_port_is_seen(text, count):
    assert len(open_ports(text)) == count


def packages():
    for path in REQUIREMENTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            line = line.split("#")[0].split(";")[0].strip()
            if line and not line.startswith("-"):
                yield line
    yield from tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    for path in DOCS:
        for line in re.findall(r"pip install (?!-)[^`\n]*", path.read_text(encoding="utf-8")):
            yield from (word for word in line.replace('"', "").split()[2:]
                        if not re.fullmatch(r"\.(\[\w+\])?[,;.]?", word))


def test_each_dependency_has_a_range_with_an_end_as_name_1_2_to_2():
    ranged = re.compile(r"[\w.\[\]-]+(==[\w.]+|>=[\w.]+,<[\w.]+)")
    assert [line for line in packages() if not ranged.fullmatch(line)] == []
