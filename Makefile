# Two commands for a clone: `make demo` and `make test`. Each is complete on a fresh machine;
# a second call finds everything installed. Users of the package need no make: pip installs it.

PYTHON ?= python3
BIN := .venv/bin
TIMED := sh scripts/timed

.PHONY: demo test check format clean

demo: .venv/demo
	@$(TIMED) "demo" $(BIN)/lowtide demo --out demo

test: .venv/test
	@$(TIMED) "style" $(BIN)/ruff check --quiet .
	@$(TIMED) "format" $(BIN)/ruff format --check --quiet .
	@$(TIMED) "types" $(BIN)/mypy
	@$(TIMED) "floors" $(BIN)/lint-imports --no-logo
	@$(TIMED) "tests" $(BIN)/python -m pytest -q

format: .venv/test
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

# PyTorch first and by its number: a bare `torch` may bring gigabytes for GPUs.
.venv/torch: constraints.txt
	@$(TIMED) "virtual environment" $(PYTHON) -m venv .venv
	@$(TIMED) "installing PyTorch" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@touch $@

.venv/demo: .venv/torch pyproject.toml
	@$(TIMED) "installing lowtide" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo]"
	@touch $@

.venv/test: .venv/torch pyproject.toml
	@$(TIMED) "installing lowtide and its checks" $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,test,check]"
	@touch $@

clean:
	rm -rf .venv demo dist
