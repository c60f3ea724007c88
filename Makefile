# The two commands that a newcomer needs are `make demo` and `make test`. All work happens in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Outside the checkout, so that the next one finds what was built for this one.
export AUTHZ_CACHE := $(or $(AUTHZ_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/authz)
# The demo needs less than the tests, so its installation is quicker.
FOR_DEMO := $(VENV)/.installed-demo
FOR_ALL := $(VENV)/.installed-dev

.PHONY: demo demo-up test check format proto bench clean spire test-spire demo-spire

demo: $(FOR_DEMO)
	@$(BIN)/authz demo

demo-up: $(FOR_DEMO)
	@$(BIN)/authz demo --keep-running

test: $(FOR_ALL)
	@$(BIN)/pytest -q -n 2 --dist loadfile

check: $(FOR_ALL)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(FOR_ALL)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

proto: $(FOR_ALL)
	$(BIN)/python proto/generate.py

bench: $(FOR_ALL)
	$(BIN)/python -m bench

spire:
	@tools/build-spire "$(AUTHZ_CACHE)/spire/bin"

# Without Go, and without the programs on the PATH, the tests are skipped and say so.
test-spire: $(FOR_ALL)
	@! command -v go >/dev/null || $(MAKE) --no-print-directory spire
	@AUTHZ_SPIRE=1 $(BIN)/pytest -v tests/spire

demo-spire: $(FOR_DEMO) spire
	@$(BIN)/authz demo --spire

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

$(FOR_DEMO): EXTRA := demo
$(FOR_ALL): EXTRA := dev
$(FOR_DEMO) $(FOR_ALL): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "authz needs Python 3.11 or later; name one: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRA)]'
	@$(BIN)/python -m compileall -q authz
	@touch $@
