# `make demo` shows the main job, `make test` proves it. Both set up what they need.

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
# A module's tests stay together, for what they share; what takes long comes first (tests/conftest.py).
# Four on two cores, too: much of it waits, for a boot, for a packet that must not come.
SIDE_BY_SIDE := --numprocesses 4 --dist loadscope --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check lint roots test-all test-oldest boot-test bench pace fuzz fuzz-rules dist deb rpm system clean

help:
	@echo "make demo    the main job from end to end, in a throw-away directory"
	@echo "make test    lint, types and all tests, the laboratory among them"
	@echo "make boot-test  Debian 12, 13 and 14, booted: a part of make test (RELEASE=forky: all of it on 14)"
	@echo "make bench   what is measured, as a table (CHECK=1: fail if it got worse;"
	@echo "             AGAINST=COMMIT: boots alone, beside those of that commit)"
	@echo "make pace    how soon an answer is noticed, as a distribution"
	@echo "make fuzz    parse, fuzzed for a minute (SECONDS=600 for ten)"
	@echo "make fuzz-rules  rulesets at random against real packets (RULES=5000 for more;"
	@echo "              NFT=.cache/nft/testing/nft for that version of nft)"
	@echo "make dist    wheel, source archive and the single file lbhook.pyz, in dist/"
	@echo "make deb     the Debian package, looked at by lintian, in dist/"
	@echo "make rpm     the RPM, in dist/"
	@echo "make clean   remove what the others made"

demo: $(VENV)/.run
	@$(VENV)/bin/lbhook demo

# Meanwhile what takes nothing but time: root file systems to boot, and the second environment.
test: system $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs 3 lint roots $(OLDEST)/.dev
	@$(MAKE) --no-print-directory test-all test-oldest

check: lint test-all

lint: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# What fails here is said by the tests that need it.
roots: $(VENV)/.dev
	$(VENV)/bin/python -m tests.boot.rootfs

test-all: $(VENV)/.dev
	$(VENV)/bin/pytest $(SIDE_BY_SIDE) $(PYTEST_ARGS)

# The versions that Ubuntu 22.04 and Debian 12 ship, and what depends on nothing but them. The steps
# that a run is killed at are those of lbhook itself, whatever has parsed, asked or rendered.
ALIKE := lab boot clients packages test_package.py test_fleet.py runs/test_kill.py runs/test_kill_strace.py
test-oldest: $(OLDEST)/.dev
	$(OLDEST)/bin/python -m pytest -q $(SIDE_BY_SIDE) $(ALIKE:%=--ignore=tests/%) $(PYTEST_ARGS)

boot-test: system $(VENV)/.dev
	$(VENV)/bin/pytest $(SIDE_BY_SIDE) tests/boot $(if $(RELEASE),--release $(RELEASE)) $(PYTEST_ARGS)

bench: $(VENV)/.dev
	$(VENV)/bin/python -m bench $(if $(AGAINST),--against $(AGAINST),$(if $(CHECK),--check))

pace: $(VENV)/.dev
	$(VENV)/bin/python bench/pace.py

fuzz: $(VENV)/.dev
	$(VENV)/bin/pip install -q atheris
	@mkdir -p .cache/fuzz
	PYTHONPATH=. $(VENV)/bin/python fuzz/fuzz_parse.py -max_total_time=$(or $(SECONDS),60) \
		-max_len=4096 -dict=fuzz/words.dict .cache/fuzz fuzz/corpus

# Rulesets at random, and what packets meet: 500 of nft's and as many of iptables'. NFT is another
# program than this machine's, such as .cache/nft/testing/nft, which tests/fetch-nft fetches.
fuzz-rules: $(VENV)/.dev
	LBHOOK_RULESETS=$(or $(RULES),500) LBHOOK_NFT=$(NFT) $(VENV)/bin/pytest -q -s tests/lab/test_generated.py

dist: $(VENV)/.dev
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist .
	$(VENV)/bin/python packaging/pyz.py dist/lbhook-*.whl dist/lbhook.pyz

# Both from the source archive, with the distribution's Python; as root their tools are installed.
deb rpm: dist
	@sh tests/system-packages packaging
	sh packaging/$@ dist/lbhook-*.tar.gz dist

system:
	@sh tests/system-packages
	@sh tests/clients/fetch-clients
	@sh tests/fetch-docker
	@sh tests/fetch-nft

clean:
	rm -rf $(VENV) $(OLDEST) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache

# A virtual environment needs ensurepip, which Debian ships apart.
$(VENV)/.run: pyproject.toml
	@sh tests/system-packages venv
	@echo "Preparing, this first time only:"
	@echo "- a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "- lbhook and what it needs into that, from PyPI: this takes a minute"
	@$(VENV)/bin/pip install -q -e .
	@echo "- done: $(VENV)/bin/lbhook"
	@echo
	@touch $@

$(VENV)/.dev: pyproject.toml
	@sh tests/system-packages venv
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -e '.[dev]'
	@touch $@ $(VENV)/.run

$(OLDEST)/.dev: pyproject.toml tests/oldest.txt
	@sh tests/system-packages venv
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install -q -r tests/oldest.txt
	@touch $@
