# Every target sets up what it needs: a Python >= 3.11 and make are enough. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Stamps carry a checksum of what they stand for, so that a set-up tree is recognised by content: a fresh clone, a
# changed branch, a moved folder or another Python are noticed, and a touched file is not.
checksum = $(firstword $(shell cat $(1) 2>/dev/null | { cat; echo '$(PYTHON) $(CURDIR)'; } | cksum))
REQUIREMENTS_READY := $(VENV)/.requirements-$(call checksum,requirements/dev.txt)
PACKAGE_READY := $(VENV)/.package-$(call checksum,requirements/dev.txt pyproject.toml)

COMPILE := $(BIN)/uv pip compile pyproject.toml --no-config --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

.DELETE_ON_ERROR:
.PHONY: help run test crash lint bench lock clean setup

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-12s %s\n' "$$target" "$$text"; done

setup: $(PACKAGE_READY) ## Create .venv with everything that is pinned; the other targets do it by themselves.

run: $(PACKAGE_READY) ## Start a simulated shop, segment its customers live, and say where the page is; Ctrl-C ends it.
	@$(BIN)/stream-app run

test: $(PACKAGE_READY) ## Run all tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

crash: $(PACKAGE_READY) ## Kill workers a hundred times, on both logs; takes about an hour.
	STREAM_APP_KILLS=100 $(BIN)/python -m pytest tests/crash -s

lint: $(PACKAGE_READY) ## Check style (ruff), types (mypy) and layers (import-linter).
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(PACKAGE_READY) ## Run the benchmarks and print their table.
	$(BIN)/python -m benchmarks

lock: $(PACKAGE_READY) ## Renew requirements/*.txt from pyproject.toml; UPGRADE=--upgrade takes the newest versions.
	$(COMPILE) $(UPGRADE) --output-file requirements/runtime.txt
	$(COMPILE) $(UPGRADE) --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt

clean: ## Remove everything that can be made again.
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is the last thing that is written: an install that fails leaves none and is begun again.
$(REQUIREMENTS_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python >= 3.11 is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true):" \
			"name another one, as in 'make PYTHON=/usr/bin/python3.12'" >&2; exit 1; }
	@echo "Setting up $(VENV): once, about a minute."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot create virtual environments: install its venv module (Debian: python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r requirements/dev.txt
	@touch $@

$(PACKAGE_READY): $(REQUIREMENTS_READY)
	@rm -f $(VENV)/.package-*
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'from stream_app.engine.compilation import compile_all; compile_all()'
	@$(BIN)/python -c 'from stream_app.adapters.codec.flat_scan import compile_scan; compile_scan()'
	@touch $@
