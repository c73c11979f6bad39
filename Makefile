# `make demo` and `make test` do all their own set-up, in .venv; PYTHON=... names another Python, 3.11 to 3.13.
PYTHON ?= python3.11
VENV := .venv/bin

.PHONY: demo test

demo: .venv/demo.stamp
	$(VENV)/python app.py

test: .venv/dev.stamp
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n 2 --dist worksteal --durations=25  # a core each

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: requirements.txt | .venv/bin/python
	$(VENV)/python -m pip install -r requirements.txt
	touch $@

.venv/dev.stamp: requirements-dev.txt requirements-train.txt requirements-video.txt requirements.txt | .venv/bin/python
	$(VENV)/python -m pip install -r requirements-dev.txt
	touch $@ .venv/demo.stamp
