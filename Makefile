PYTHON ?= python3
BIN := .venv/bin

.PHONY: inventory run test test-long coverage spec-tests check vectors bench wheel web clean

run: .venv/ready
	$(BIN)/python client/web/bundle.py --if-possible
	$(BIN)/headcount demo $(ARGS)

test: .venv/dev
	$(BIN)/python -m pytest -m "not long" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: .venv/dev
	$(BIN)/python -m pytest -m long --timeout=3600 $(ARGS)

# What the branches of the specification are counted in.
SPEC_TESTS = tests/spec tests/test_vectors.py tests/conformance

coverage: .venv/dev
	$(BIN)/coverage run -m pytest -q -m "not long" $(SPEC_TESTS)
	$(BIN)/coverage report --skip-covered --fail-under=100

spec-tests:
	@echo $(SPEC_TESTS)

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

vectors: .venv/dev
	$(BIN)/python spec/vectors/make.py

inventory: .venv/dev
	$(BIN)/python -c "from headcount_issuer.holding import page; print(page(), end='')" > docs/data-inventory.md

bench: .venv/dev
	$(BIN)/python bench/run.py $(ARGS)

wheel: .venv/dev
	sh tests/wheel.sh

.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[node]'
	touch $@

.venv/dev: .venv/ready
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

web: .venv/dev
	$(BIN)/python client/web/bundle.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis client/headcount/web client/web/.build client/web/node_modules
