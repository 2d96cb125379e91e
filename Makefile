# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The lab's directory, and further flags of "isthmus-lab up". LAB_UP_FLAGS="--vms 2" adds a guest.
ISTHMUS_LAB_DIR ?= /run/isthmus-lab
LAB_DIR ?= $(ISTHMUS_LAB_DIR)
LAB_UP_FLAGS ?=
# How Kubernetes and OpenStack share the network: shared-ovn, neutron or nested.
PROFILE ?= shared-ovn
export ISTHMUS_LAB_DIR := $(LAB_DIR)
export LAB_UP_FLAGS
# The directory of Kubernetes' programs for the lab, which are built once per version.
CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/isthmus

PROGRAMS := isthmus-controller isthmus-agent isthmus-cni kubectl-ko isthmus-lab
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'
TOOL := go tool -modfile=tools/go.mod

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: packages kubernetes build coredns ## start the one-machine cloud and show what Isthmus does; PROFILE=neutron or nested
	@demo/$(PROFILE).sh

.PHONY: test
test: ## run everything that CI runs: install, build, check, unit tests, and a lab of each profile
	@test/run.sh

.PHONY: build
build: ## build static programs and image archives into bin/
	@mkdir -p bin
	$(GO_BUILD) -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	$(GO_BUILD) -o bin/hello ./internal/lab/hello
	@bin/isthmus-lab image
	@bin/isthmus-lab image --demo bin/hello

.PHONY: lab
lab: packages kubernetes build coredns ## start the one-machine cloud, or repair it
	bin/isthmus-lab up --profile $(PROFILE) $(LAB_UP_FLAGS)

.PHONY: unit
unit: ## run the unit and script tests, which need no lab
	go test ./api/... ./cmd/... ./internal/...

.PHONY: race
race: ## run the same with the race detector
	go test -race ./api/... ./cmd/... ./internal/...

.PHONY: e2e
e2e: ## run the end-to-end tests in the lab that runs
	go test -tags e2e -count 1 -timeout 30m ./test/e2e

.PHONY: bench
ifeq ($(PROFILE),neutron)
bench: lab ## run the benchmarks; with PROFILE=neutron or nested those in the lab, ISTHMUS_BENCH_RUNS times each
	go test -tags bench -count 1 -timeout 90m -v -run '^TestNeutron$$' ./test/bench
else ifeq ($(PROFILE),nested)
bench: lab
	go test -tags bench -count 1 -timeout 90m -v -run '^TestNested$$' ./test/bench
else
bench:
	go test -run '^$$' -bench . -benchmem ./api/... ./internal/...
endif

.PHONY: vet
vet: ## run go vet and gofmt
	go vet ./api/... ./cmd/... ./internal/...
	go vet -tags e2e,bench ./test/...
	go vet -tags cloud ./internal/octavia
	go vet -tags vlan ./internal/netdev ./internal/app/agent
	@unformatted=$$(gofmt -l api cmd internal test); \
	  if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi

.PHONY: lint
lint: ## run golangci-lint; the first run builds it, which takes minutes
	@linter=$$(scripts/lint.sh) && "$$linter" run ./...

.PHONY: gen
gen: crds ## generate deep copies, CRDs and the diagram of the packages
	go test ./internal/arch -run '^TestDiagramIsCurrent$$' -update

# This target also works in a copy with only api/. See scripts/unchanged.sh.
.PHONY: crds
crds:
	$(TOOL) controller-gen object crd:crdVersions=v1 paths=./api/... output:crd:dir=api/crds

.PHONY: unchanged
unchanged: ## fail if make gen or go mod tidy would change a file
	@scripts/unchanged.sh

.PHONY: packages
packages: ## install the Debian packages that the lab needs
	@scripts/packages.sh

.PHONY: kubernetes
kubernetes: ## build the Kubernetes of the lab, if it is not in the cache
	@scripts/kubernetes.sh

.PHONY: coredns
coredns: build ## build the CoreDNS of profiles neutron and nested, if it is not in the cache
	@if [ $(PROFILE) != shared-ovn ]; then dns=$$(scripts/coredns.sh) && bin/isthmus-lab image --coredns "$$dns"; fi

.PHONY: clean
clean: ## stop the lab and remove bin/; the caches stay
	@if [ -x bin/isthmus-lab ]; then bin/isthmus-lab down; fi
	rm -rf bin
