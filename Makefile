# The two commands are `make run` and `make test`; `make help` lists all of them.

SHELL := /bin/bash
# Debian keeps mariadbd and nginx where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin

PY := .venv/bin/python
# Each worker of the tests has its own database and Redis servers, started when a test first asks for them.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 2 ? 2 : cores > 8 ? 8 : cores)))
# What `make test` and `make quick` run: files, directories or `file::test`. Empty: all of them.
TESTS ?=
# Which benchmarks `make bench` runs. Empty: all of them.
BENCH ?=

.PHONY: help setup run test quick lint format bench docs lock upgrade
.DEFAULT_GOAL := help

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## make the environment .venv, or bring it up to date
	@scripts/environment runtime

run: setup ## serve on port 8080 with the embedded database, or as config.yml and ICHAT_… say
	@$(PY) -m server migrate
	@exec $(PY) -m server serve

test: lint ## install what the tests need, check, and run all tests (or TESTS=tests/store)
	@scripts/debian-packages
	$(PY) -m pytest -n $(WORKERS) --dist worksteal --durations=15 $(TESTS)

quick: ## run TESTS=tests/config/test_sources.py alone, up to the first failure
	@test -n "$(TESTS)" || { echo "make quick TESTS=tests/config/test_sources.py"; exit 2; }
	@scripts/environment dev
	@$(PY) -m pytest -x -q $(TESTS)

lint: ## check format, style, types and layers
	@scripts/environment dev
	@failed=; \
	for check in "-m ruff format --check" "-m ruff check" "-m mypy" ".venv/bin/lint-imports --no-logo"; do \
	  echo "== python $$check"; \
	  $(PY) $$check || failed="$$failed, python $$check"; \
	done; \
	if [ -n "$$failed" ]; then echo "not clean: $${failed#, }" >&2; exit 1; fi

format: ## format the code and mend what can be mended by itself
	@scripts/environment dev
	@$(PY) -m ruff check --fix-only
	@$(PY) -m ruff format

bench: ## measure (BENCH="chat idle" for some); prints the README's tables
	@scripts/environment dev
	@scripts/debian-packages
	@$(PY) -m tests.bench $(BENCH)

docs: ## renew the README's table of configuration keys
	@scripts/environment dev
	@$(PY) -m scripts.configuration_table

lock: ## pin what requirements/*.in ask for, keeping the versions that are pinned
	@scripts/lock

upgrade: ## pin the newest versions
	@scripts/lock --upgrade
