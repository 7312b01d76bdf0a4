# The front door. Every target sets up what it needs (scripts/setup.sh), so that a fresh clone
# and one command are enough; the work itself is done by meson, ninja and the scripts.
#
#   make run      build and start on SQLite at http://127.0.0.1:8080 (LISTEN=, DATABASE= to change)
#   make test     what everyone runs: unit tests, then the API tests on both databases
#   make check    the deep run: sanitizers, faults, fuzzing, lints, generated files
#   make bench    compare with the peers; writes bench/results/ (BENCH_ARGS=--quick: a short look)
#   make bench-webhooks   webhooks out at 1,000 events a second for five minutes; webhooks in against a peer
#   make docs     write the generated pages under docs/ anew

BUILD    ?= build
LISTEN   ?= 127.0.0.1:8080
DATABASE ?= sqlite:data/tessera.db
PREFIX   ?= /usr/local
MESON_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help run build test check bench bench-webhooks soak lint fmt docs setup install clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: build, lint, fmt, soak, setup, install (PREFIX=$(PREFIX)), clean"

setup:
	@scripts/setup.sh build test check bench

build:
	@scripts/setup.sh build
	@scripts/configure.sh $(BUILD) --prefix=$(PREFIX) $(MESON_ARGS)
	@ninja -C $(BUILD) --quiet tessera

run: build
	@scripts/run.sh $(BUILD)/tessera $(LISTEN) $(DATABASE)

test: build
	@scripts/setup.sh test
	@scripts/test.sh $(BUILD)

check: build
	@scripts/setup.sh test check
	@scripts/check.sh $(BUILD)

bench: build
	@scripts/setup.sh test bench
	@/usr/bin/python3 bench/run.py --tessera $(BUILD)/tessera $(BENCH_ARGS)

bench-webhooks: build
	@scripts/setup.sh test bench
	@status=0; \
	/usr/bin/python3 bench/webhooks_out.py --tessera $(BUILD)/tessera $(BENCH_ARGS) || status=1; \
	/usr/bin/python3 bench/hooks_in.py --tessera $(BUILD)/tessera || status=1; \
	exit $$status

soak: build
	@scripts/setup.sh test bench
	@/usr/bin/python3 bench/soak.py --tessera $(BUILD)/tessera $(SOAK_ARGS)

lint: build
	@scripts/setup.sh check
	@scripts/lint.sh $(BUILD)

fmt:
	@scripts/setup.sh check
	@scripts/list_c.sh | xargs clang-format -i

docs: build
	@scripts/docs.sh $(BUILD)/tessera write

install: build
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*
