# The image factory. `make` lists the targets; README says more.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export GOTOOLCHAIN := local
# Trivy, in factory-scanner, is written against encoding/json/v2.
export GOEXPERIMENT := jsonv2
# For every go command alike: builds and tests share one cache then, and no path of this machine gets into a binary.
export GOFLAGS := -trimpath

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
COVER   := $(CURDIR)/coverage
DAEMON  := factory/buildkit/daemon
TOOLS   := tests/tools

# What the factory runs on this machine: runc for buildkitd, mmdebstrap, apt and gpgv for the toolbox, git for versions.
PROGRAMS := runc mmdebstrap apt-get gpgv git xz zstd
PACKAGES := runc mmdebstrap apt gpgv git xz-utils zstd ca-certificates
# What the tests need beyond that.
TEST_PROGRAMS := ansible-lint gpg python3 ip /usr/lib/postgresql/15/bin/postgres createrepo_c dnf rpmkeys busybox db5.3_dump /usr/lib/python3/dist-packages/apt/__init__.py
TEST_PACKAGES := ansible-lint gnupg python3 iproute2 postgresql apt-utils createrepo-c dnf rpm busybox-static db5.3-util python3-apt

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: nightly
nightly: build ## the main job, for real, on embedded defaults: lock, plan, build, harden, test, sign, publish
	bin/factory nightly

.PHONY: build
build: deps bin/factory bin/factory-scanner bin/buildkitd ## build the binaries into bin/

.PHONY: bin/factory
bin/factory:
	go build -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./cmd/factory

# Trivy is large: it is linked again only when something of it changed.
bin/factory-scanner: go.mod go.sum $(wildcard cmd/factory-scanner/*.go factory/scanner/*.go factory/*.go)
	go build -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./cmd/factory-scanner

bin/buildkitd: $(DAEMON)/go.mod $(DAEMON)/go.sum
	cd $(DAEMON) && go build -ldflags "-s -w" -o $(CURDIR)/$@ github.com/moby/buildkit/cmd/buildkitd

.PHONY: deps
deps: ## install the Debian packages that the factory runs on, where they are missing (as root)
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if test -n "$$missing"; then \
		echo "installing what provides:$$missing"; \
		test "$$(id -u)" = 0 || { echo "not root: run  apt-get install $(PACKAGES)"; exit 2; }; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(PACKAGES); \
	fi

.PHONY: test-deps
test-deps: deps ## install the Debian packages that only the tests need (as root)
	@missing=; for p in $(TEST_PROGRAMS); do test -e $$p || command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if test -n "$$missing"; then \
		echo "installing what provides:$$missing"; \
		test "$$(id -u)" = 0 || { echo "not root: run  apt-get install $(TEST_PACKAGES)"; exit 2; }; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(TEST_PACKAGES); \
	fi

.PHONY: test
test: build test-deps ## all tests: units, house, CLI, and the real pipeline; prints the coverage and holds its floor
	tests/run

.PHONY: unit
unit: ## the quick tests only: no build service, no archive
	go test -short ./...

.PHONY: lint
lint: test-deps ## gofmt, go vet, staticcheck, ansible-lint
	@test -z "$$(gofmt -l cmd factory tests)" || { gofmt -l cmd factory tests; echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	go build -C $(TOOLS) -o $(CURDIR)/bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...
	cd ansible && ansible-lint --offline -q

.PHONY: bench
bench: build ## measure the speed ratios and print the table
	go run ./tests/bench

.PHONY: ci
ci: lint test ## what the gate for landing runs

.PHONY: clean
clean: ## remove the binaries and coverage; the state in .factory stays
	rm -rf bin coverage
