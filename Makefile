# make demo and make test do all their set-up themselves. PYTHON= may name any Python of either stack (BUILD.md):
#   make test                                    Python 3.11: TensorFlow 2.15 with tensorflow-addons
#   make test PYTHON=python3.12 VENV=.venv-3.12  Python 3.12: TensorFlow 2.20 or newer with Keras 3
# GPU=1 installs TensorFlow with its CUDA libraries, for every command: make demo GPU=1
PYTHON ?= python3
VENV ?= .venv
DEMO ?= runs/demo
# The demo's size: cases to train on, cases held out, pixels a side, more flags for train.py.
CASES ?= 40
HELD_OUT ?= 12
SIZE ?= 256
TRAIN_FLAGS ?=
RELEASE ?= runs/release
# More share the tests' work in less time, and take 3 GB of memory each.
TEST_PROCESSES ?= 2
# A file's tests run in one process, in the order of tests/conftest.py.
IN_PARALLEL = --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder
RUN = "$(VENV)/bin/python"
GPU ?=
REQUIREMENTS = $(if $(GPU),requirements-gpu.txt,requirements.txt)
# A target's blanks are escaped, a word's in a recipe are quoted: paths may have blanks.
BLANK := $(subst ,, )
STAMP = $(subst $(BLANK),\ ,$(VENV))/.installed$(if $(GPU),-gpu)

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: venv test lint soak audit demo release docs notebook bench clean

venv: $(STAMP)

$(STAMP): $(REQUIREMENTS) requirements.txt requirements-test.txt
	"$(PYTHON)" -m venv "$(VENV)"
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r requirements-test.txt
	touch "$@"

lint: venv
	$(RUN) -m ruff check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest -m "not soak" $(IN_PARALLEL)

soak: venv
	$(RUN) -m pytest -m soak --timeout=0 $(IN_PARALLEL)

# Known vulnerabilities in what is installed, looked up by pip-audit from an environment of its own. Status 1: there are
# some. Status 2: nothing was audited, since the advisory service knew nothing of what is installed or was out of reach.
audit: venv
	"$(PYTHON)" -m venv "$(VENV)-audit"
	"$(VENV)-audit/bin/python" -m pip install --quiet --disable-pip-version-check "pip-audit>=2.7,<3"
	@found=$$("$(VENV)-audit/bin/python" -m pip_audit --strict --progress-spinner=off \
	  --path="$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" 2> "$(VENV)-audit/said.txt"); \
	status=$$?; tail -n 1 "$(VENV)-audit/said.txt"; \
	if [ -n "$$found" ]; then echo "$$found"; exit 1; fi; \
	if [ $$status -ne 0 ]; then echo "NOT AUDITED: the advisory service is out of reach from here"; exit 2; fi

# Phantoms to train on and others held out (hard cases in both), five small nets, one SavedModel, labels, scores.
demo: venv
	$(RUN) -m kits_tf.phantoms --output="$(DEMO)/study" --cases=$(CASES) --seed=0 --size=$(SIZE) --slice_mm=4,5
	$(RUN) -m kits_tf.phantoms --output="$(DEMO)/held_out" --cases=$(HELD_OUT) --first=$(CASES) --seed=0 --size=$(SIZE) \
	  --slice_mm=4,5
	$(RUN) -m data_prep --input="$(DEMO)/study" --output="$(DEMO)/data" --preset=demo
	$(RUN) train.py --stage=all --preset=demo --data_dir="$(DEMO)/data" --run_dir="$(DEMO)" $(TRAIN_FLAGS)
	$(RUN) -m kits_tf.cascade --run_dir="$(DEMO)" --output="$(DEMO)/export"
	$(RUN) predict.py --model="$(DEMO)/export" --input="$(DEMO)/held_out" --output="$(DEMO)/predictions"
	$(RUN) -m kits_tf.evaluation --predictions="$(DEMO)/predictions" --labels="$(DEMO)/held_out" --output="$(DEMO)/scores"
	@echo "A picture to look at: $$(ls "$(DEMO)"/predictions/*.png | head -n 1)"

# The model that ships, from nothing: whole-body phantoms, five nets, one SavedModel, and its scores on phantoms that no
# net has seen. Most of a day on two cores. Stop it at will: the same command continues with the case, the epoch or the
# scan that it was at. docs/releasing.md says how the export gets into the package.
RELEASE_PHANTOMS = $(RUN) -m kits_tf.phantoms --body --seed=1 --size=256
WIDE_FIELD = --slice_mm=2,8
KIDNEY_FIELD = --slice_mm=1.5,5 --field_mm=190,330
TUMORS = --slice_mm=3,5 --field_mm=190,330 --tumor_share=1
release: venv
	$(RELEASE_PHANTOMS) --output="$(RELEASE)/study" --cases=170 $(WIDE_FIELD)
	$(RELEASE_PHANTOMS) --output="$(RELEASE)/study" --first=500 --cases=118 $(KIDNEY_FIELD)
	$(RELEASE_PHANTOMS) --output="$(RELEASE)/study" --first=2000 --cases=90 $(TUMORS)
	$(RELEASE_PHANTOMS) --output="$(RELEASE)/held_out" --first=1000 --cases=40 $(WIDE_FIELD)
	$(RELEASE_PHANTOMS) --output="$(RELEASE)/held_out" --first=1500 --cases=30 $(KIDNEY_FIELD)
	$(RUN) -m data_prep --input="$(RELEASE)/study" --output="$(RELEASE)/data" --preset=release
	$(RUN) train.py --stage=all --preset=release --data_dir="$(RELEASE)/data" --run_dir="$(RELEASE)" $(TRAIN_FLAGS)
	$(RUN) -m kits_tf.cascade --run_dir="$(RELEASE)" --output="$(RELEASE)/export" --bfloat16=
	$(RUN) predict.py --model="$(RELEASE)/export" --input="$(RELEASE)/held_out" --output="$(RELEASE)/predictions"
	$(RUN) -m kits_tf.evaluation --predictions="$(RELEASE)/predictions" --labels="$(RELEASE)/held_out" \
	  --output="$(RELEASE)/scores"
	$(RUN) -m benchmarks.confidence --predictions="$(RELEASE)/predictions" --study="$(RELEASE)/held_out" \
	  --model="$(RELEASE)/export" --fit

# Runs the Colab notebook top to bottom in small form, and leaves the file as it is.
notebook: venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r notebooks/requirements.txt
	KITS_NOTEBOOK_SMALL=1 "$$(cd "$(VENV)/bin" && pwd)/python" -m jupyter execute --timeout=1200 notebooks/colab.ipynb

# The pages of docs/ and the API as HTML. A broken link, or a module that cannot be imported, stops it.
docs: venv
	$(RUN) -m mkdocs build --quiet --strict
	PDOC_ALLOW_EXEC=1 $(RUN) -W error::UserWarning -m pdoc --docformat google --output-directory build/docs/api \
	  kits_tf data_prep '!kits_tf.*.__main__' '!data_prep.__main__'
	@echo "open build/docs/index.html"

# Compares this program with others, each in its own environment in runs/bench; writes benchmarks/RESULTS.md. An hour.
bench: venv
	$(RUN) -m benchmarks

clean:
	rm -rf "$(VENV)" "$(VENV)-audit" "$(DEMO)"
