# Two commands set everything up on a machine that has only python3 and make:
#   make demo    a tour: a napari window where there is a display, files in demo/ otherwise
#   make test    the whole test-suite, its windows in a virtual display

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
VIRTUAL_DISPLAY := sh scripts/xvfb.sh

.DEFAULT_GOAL := help
.NOTPARALLEL:
# Without it every process that a test starts would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint docs dist bench bench-peers screenshots app clean system venv-test venv-docs venv-dist venv-dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: venv-test ## a tour of the plugin: a window, or files in demo/ without a display
	$(BIN)/napari-cellclass demo --out demo

test: venv-test ## the whole test-suite, in four processes with a virtual display each; ARGS="-m gui -k name" for a part
	$(VIRTUAL_DISPLAY) $(BIN)/python -m pytest --numprocesses 4 --no-loadscope-reorder --durations=20 $(ARGS)

lint: venv-dev ## ruff, ruff format --check, mypy, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: venv-docs ## the site, in site/: a broken link, a missing picture or a page out of the navigation ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: venv-dist ## wheel and sdist in dist/, looked through and tried with the lowest and newest dependencies; a network
	$(BIN)/python scripts/check_dist.py --out dist $(ARGS)

bench: venv-test ## every benchmark, one after the other, but for that beside other programs
	@for script in $$(ls benchmarks/[!_]*.py | grep -v peers); do \
		echo "== $$script"; $(VIRTUAL_DISPLAY) $(BIN)/python "$$script" || exit 1; \
	done

bench-peers: venv-test ## speed beside TIAToolbox and WSInfer, which are installed for that: several GB
	$(BIN)/python benchmarks/peers.py

screenshots: venv-test ## pictures of every page of the dock, in screenshots/pages, and those of README and documents
	$(VIRTUAL_DISPLAY) $(BIN)/python scripts/screenshots.py
	$(VIRTUAL_DISPLAY) $(BIN)/python scripts/document_pictures.py
	$(VIRTUAL_DISPLAY) $(BIN)/python scripts/moving_picture.py

app: venv-test ## napari with the plugin's panels open
	$(BIN)/napari --with napari-cellclass __all__

clean: ## remove everything that make made, the environment too
	rm -rf .venv demo screenshots site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The set-up: quick and silent where nothing is missing. dev contains the others.

system:
	@sh scripts/setup-system.sh "$(PYTHON)"

venv-test venv-docs venv-dist venv-dev: venv-%: system
	@sh scripts/setup-venv.sh "$(PYTHON)" $*
