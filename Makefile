# Every target works from a bare clone: it makes its own environment first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
# Without it every process would compile all that it imports anew: TensorFlow takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Without PYTHON=…: the newest that fits, each tried by running it, as a name may be a shim with nothing behind it.
# The tests run on the Python of .venv, and `make pythons` brings the other end to it (docs/adr/0027).
SUITS := import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
WHICH := import sys; print(*sys.version_info[:3], sys.base_prefix)
NAMED := import sys, importlib.util as u; \
	print("%s (%d.%d%s)" % (sys.argv[1], *sys.version_info[:2], "" if u.find_spec("ensurepip") else " without venv"))
# An environment without pip was cut off while it was made.
MADE_BY := $(shell $(BIN)/python -c 'import pip; $(WHICH)' 2>/dev/null)
ifeq ($(origin PYTHON),undefined)
CANDIDATES := python3.13 python3.12 python3.11 python3
PYTHON = $(firstword $(shell for p in $(CANDIDATES); do $$p -c '$(SUITS)' 2>/dev/null && echo $$p; done; :))
REMADE := $(if $(MADE_BY),,yes)
else
CANDIDATES := $(PYTHON)
REMADE := $(if $(subst <$(MADE_BY)>,,<$(shell $(PYTHON) -c '$(WHICH)' 2>/dev/null)>),yes)
endif
FOUND = $(shell for p in $(CANDIDATES); do $$p -c '$(NAMED)' $$p 2>/dev/null; done; :)

STORE ?= tests/corpus
OUT ?= build/demo
SPEED ?= 40
BROKER ?=
MOSQUITTO ?=
AGAIN ?=
PYTEST_ARGS ?=
BUNDLE ?=
TRUST ?=
REVISION ?=
SEED ?= 1
CORPUS ?= tests/corpus
# Two processes more than cores: many tests wait for a guest, a broker or a page.
JOBS ?= $(shell expr $$(nproc) + 2)

.PHONY: help setup demo guest lab-guests record-corpus deb test test-boot roots test-arm64 arm64 test-pythons pythons lint bench release-check system \
	schemas lock clean

help: ## this list
	@echo "make TARGET; the targets are:"
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY) ## the environment alone, in .venv, by the newest Python from 3.11 to 3.13 (PYTHON=…)

ifdef REMADE
.PHONY: $(READY) $(BIN)/python
endif

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(SUITS)' 2>/dev/null || { \
		echo "make: found $(or $(FOUND),no Python); expected Python 3.11, 3.12 or 3.13 with venv (Debian: python3-venv); install it, or say make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(if $(REMADE),--clear) $(VENV)

$(READY): constraints.txt pyproject.toml | $(BIN)/python
	@echo "installing the pinned packages, about a gigabyte: two minutes on a good line"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## train on real recordings, replay, and watch the six events arrive (BROKER=url, MOSQUITTO=program, SPEED=n, AGAIN=1)
	@$(BIN)/python -m trainer.demo --store $(STORE) --out $(OUT) --speed $(SPEED) \
		$(if $(AGAIN),--again) $(if $(BROKER),--broker $(BROKER)) $(if $(MOSQUITTO),--mosquitto $(MOSQUITTO))

test: ## everything: linters, types, floors, and all tests, in up to four processes (JOBS=0: in one; PYTEST_ARGS=…)
	@$(MAKE) --no-print-directory --jobs=4 setup system pythons arm64 lint
	$(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-boot: $(READY) system roots ## packages, service, whole machines, amd64 and arm64 (but for what is emulated, part of `make test`)
	$(BIN)/python -m pytest tests/boot -m "" $(PYTEST_ARGS)

roots: $(READY) arm64 ## clean roots of Debian for the tests, in build/roots (needs root)
	@$(BIN)/python -m tests.boot.roots build/roots

test-arm64: $(READY) system arm64 ## the edge as a Pi would run it: both Pythons on an emulated Cortex-A72 (part of `make test`)
	$(BIN)/python -m pytest -m arm64 $(PYTEST_ARGS)

arm64: $(READY) ## unpack the arm64 userlands for the tests, in build/arm64 (Debian's packages, aarch64 wheels, qemu)
	@$(BIN)/python -m tests.arm64.userland build/arm64

test-pythons: $(READY) pythons ## demo and quick tests on the other Python: Debian 13's 3.13, or 3.11 beside a later .venv (part of `make test`)
	$(BIN)/python -m pytest -m pythons $(PYTEST_ARGS)

pythons: $(BIN)/python ## unpack the other Python for the tests, with the packages of the lock, in build/pythons
	@$(BIN)/python -m tests.pythons.userland build/pythons

lint: $(READY) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY) ## ratios against named peers, in one run
	$(BIN)/python -m tests.bench

deb: $(READY) ## packages for Debian and Raspberry Pi OS, in build/deb (BUNDLE=file TRUST=file.pub to come along)
	@$(BIN)/python firmware-config/deb/build.py $(if $(BUNDLE),--bundle $(BUNDLE)) $(if $(TRUST),--trust $(TRUST)) \
		$(if $(REVISION),--revision $(REVISION))

guest: ## a tiny guest for QEMU, in build/guest: Debian's kernel, busybox and the feed (docs/live.md starts it)
	@sh firmware-config/guest/build.sh build/guest

lab-guests: ## the tiny guest for both architectures of the lab, in build/guests
	@sh firmware-config/guest/build.sh build/guests/amd64 amd64
	@sh firmware-config/guest/build.sh build/guests/arm64 arm64

record-corpus: $(READY) system lab-guests ## record tests/corpus anew: over an hour, as root; goes on where it was stopped (SEED=1, CORPUS=…)
	$(BIN)/edge lab run --recipe firmware-config/lab/corpus.toml --seed $(SEED) --out $(CORPUS)

system: ## what only the system's package manager has, for the tests: mosquitto, QEMU, a flow exporter, chromium, …
	@sh tests/install-system-tools.sh

release-check: $(READY) ## before a release: version and changelog agree; sdist and wheel build, and install in clean environments
	$(BIN)/python -m tests.release

schemas: $(READY) ## write docs/events and docs/reasons.md anew from the code
	$(BIN)/python -m contracts.events.documents docs/events
	$(BIN)/python -m trainer.sweep.reasons docs/reasons.md

lock: ## pin the newest versions that fit pyproject.toml (by uv, in an environment of its own)
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra test \
		--constraint docs/lock-notes.txt --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--upgrade --quiet --output-file constraints.txt
	for list in "requirements --extra edge --extra prometheus" "requirements-dashboard --extra dashboard"; do \
		set -- $$list; file=$$1; shift; \
		build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 $$@ \
			--constraint constraints.txt --generate-hashes --no-annotate --no-header --no-emit-index-url \
			--quiet --output-file firmware-config/$$file.txt || exit; \
	done

clean: ## remove what was built, and the environment
	rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
