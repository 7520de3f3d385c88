# The front doors. `make repro` and `make test` each work alone on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
JOBS   ?= 2
BIN    := .venv/bin
SHELL  := /bin/bash
export OMP_NUM_THREADS ?= 1
export DVC_NO_ANALYTICS := 1
export MM3D_TORCH
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install repro study study-detection test short slow gpu check docs notebooks lint types imports chaos clean

help:            ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

install: .venv/.installed   ## create .venv and install everything into it (MM3D_TORCH=auto|cpu|cuda|cu126)

.venv/.installed: pyproject.toml setup.py packages/pointops/pyproject.toml constraints.txt tools/install.py $(if $(MM3D_TORCH),FORCE)
	$(PYTHON) tools/install.py .venv
	@touch $@

FORCE:

repro: .venv/.installed   ## every table and figure of the profile in params.yaml -> results/
	$(BIN)/dvc repro

STUDY_SEGMENTATION := table_05 table_07 table_08 table_09 table_12 figure_05 figure_06 figure_09 rivals controls probes frame_ablation limited_annotations
STUDY_DETECTION    := table_02 table_03 figure_04 figure_05 rivals controls

study: .venv/.installed   ## profile study, the segmentation half: about two hours on two cores -> results/study/
	$(BIN)/python tools/study.py segmentation --jobs $(JOBS) $(STUDY_SEGMENTATION)

study-detection: .venv/.installed   ## profile study, the detection half
	$(BIN)/python tools/study.py detection --jobs $(JOBS) $(STUDY_DETECTION)

test: .venv/.installed   ## the fast tests
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not gpu"

short: .venv/.installed   ## those slow tests that take less than two minutes each
	$(BIN)/python -m pytest -m "slow and short"

slow: .venv/.installed   ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

gpu: .venv/.installed   ## on a machine with a GPU: its tests, then speed and memory -> gpu_report.md
	$(BIN)/python -m pytest -m gpu -q 2>&1 | tee gpu_tests.txt; test $${PIPESTATUS[0]} -eq 0
	$(BIN)/python -m speed.gpu --tests gpu_tests.txt --out gpu_report.md

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.installed
	$(BIN)/pyright

imports: .venv/.installed
	$(BIN)/lint-imports

docs: .venv/.installed   ## the documentation site -> site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: .venv/.installed   ## run the notebooks of docs/ in an empty folder, a minute or two
	$(BIN)/python -m pytest tests/test_notebooks.py

check: lint types imports test   ## everything CI checks

chaos: .venv/.installed   ## kill runs, workers and drivers at random, then compare every byte (KILLS=100 SEED=...)
	$(BIN)/python tests/chaos/chaos.py --kills $(or $(KILLS),100) $(if $(SEED),--seed $(SEED))

clean:           ## forget runs, results and prepared data (the environment, dvc.lock, metrics/ and results/study stay)
	rm -rf runs plan data .dvc/tmp .dvc/cache
	find results -mindepth 1 -maxdepth 1 ! -name study -exec rm -rf {} + 2>/dev/null || true
