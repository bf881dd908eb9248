# Commands of this repository; each step of CI is one of them. `make help` lists them.

export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test build prepare format lint tests rules unit-test lab-test test-fault test-cluster test-kube test-floor neighbours soak outage bench bench-full instructions ab compare fuzz miri vm-test programs deny

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build two nodes with pods in network namespaces and show that everything works; KEEP=1 leaves them up
	@tests/prepare.sh demo
	$(CARGO) build --release --locked -p sluice -p sluice-lab
	@$(TARGET)/release/sluice-lab demo $(if $(filter-out 0 no false,$(KEEP)),--keep)

test: ## Everything CI checks: format, lints, rules of the house, unit and property tests, lab tests
	@tests/prepare.sh test
	@$(MAKE) --no-print-directory format lint tests

build: ## Build the release binaries
	@tests/prepare.sh build
	$(CARGO) build --release --locked --workspace --bins

prepare: ## Install what building, demo and tests need, and say what this machine lacks
	@tests/prepare.sh test

format: ## Check that the code is formatted
	$(CARGO) fmt --all --check

lint: ## Run clippy; a warning is an error
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# One build for all: the features of shared crates depend on what is built together, so parts one by one would build twice.
tests: ## Run every test: rules of the house, unit, property and lab tests; needs root
	@tests/summary.sh $(CARGO) test --locked --workspace --no-fail-fast

rules: ## Only the dependency directions, where unsafe lives, length of files, tests named in SPEC.md, manifests in deploy/
	$(CARGO) test --locked -p sluice-house

unit-test: ## Only unit and property tests of all crates but the lab
	$(CARGO) test --locked --no-fail-fast --workspace --exclude sluice-lab --exclude sluice-house

# The lab starts these programs beside its own test binaries.
programs:
	$(CARGO) build --locked -p sluice -p sluice-lab

lab-test: programs ## Only the tests in network namespaces; needs root
	$(CARGO) test --locked --no-fail-fast -p sluice-lab

# All that holds whatever devices do; the list of what cannot says why.
FAULTS ?= drop=500,duplicate=500,reorder=1000,truncate=200,corrupt=200,stall=200,seed=1
NOT_UNDER_FAULTS := $(shell sed -n 's/^[a-z]/--skip &/p' tests/lab/not-under-faults.txt)
test-fault: programs ## Only lab tests, while every device loses, damages and delays packets; FAULTS sets the rates
	SLUICE_TESTING=faults:$(FAULTS) $(CARGO) test --locked --no-fail-fast -p sluice-lab --test e2e -- --exact $(NOT_UNDER_FAULTS)

NOT_FROM_A_CLUSTER := $(shell sed -n 's/^[a-z]/--skip &/p' tests/lab/not-from-a-cluster.txt)
test-cluster: programs ## Only lab tests, with agents that have their objects from an API server (tests/apiserver) instead of manifests
	SLUICE_LAB_SOURCE=kubernetes $(CARGO) test --locked --no-fail-fast -p sluice-lab --test e2e -- --exact $(NOT_FROM_A_CLUSTER)

# From the command line only, so that nobody's cluster is meant by accident. One test after the other: policies of one are everybody's.
ONLY_THE_STAND_IN := $(shell sed -n 's/^[a-z]/--skip &/p' control/tests/kubernetes/only-the-stand-in.txt)
test-kube: ## Only what follows an API server, against the real one that KUBECONFIG=FILE names (1.32 or later, as administrator); it makes namespaces and nodes of its own and removes them
	@test "$(origin KUBECONFIG)" = "command line" -a -r "$(KUBECONFIG)" || { echo "make test-kube KUBECONFIG=FILE: FILE is to be the kubeconfig of an administrator" >&2; exit 1; }
	SLUICE_TEST_KUBECONFIG=$(abspath $(KUBECONFIG)) $(if $(filter-out 0 no false,$(FORGETS)),SLUICE_TEST_FORGETS=1) $(CARGO) test --locked --no-fail-fast -p sluice-control -p sluice-apiserver --test kubernetes --test conventions -- --test-threads 1 --exact $(ONLY_THE_STAND_IN)

# Pods of jumbo frames need what the floor does not have; what they get there has a test of its own.
FLOOR_SKIPS := jumbo::pods_use jumbo::jumbo_frames jumbo::an_uplink_whose_mtu
test-floor: programs ## Only the lab tests, without anything that Linux newer than 6.1 has
	SLUICE_TESTING=floor $(CARGO) test --locked --no-fail-fast -p sluice-lab --test e2e -- $(FLOOR_SKIPS:%=--skip %)

neighbours: ## Only what a neighbour of floods and of a slow pod feels: times of its requests beside each of them, and alone; wants two idle CPUs
	$(CARGO) build --release --locked -p sluice -p sluice-lab
	$(CARGO) test --release --locked -p sluice-lab --test e2e -- --nocapture --test-threads 1 neighbours

soak: programs ## Everything at once for MINUTES (10): traffic of all kinds, churn, agents that stop and die
	SLUICE_SOAK_SECONDS=$$(($(or $(MINUTES),10) * 60)) $(CARGO) test --locked -p sluice-lab --test e2e -- --nocapture soak

outage: programs ## No API server for MINUTES (10): no probe fails, no packet is lost; and what changes elsewhere costs
	SLUICE_OUTAGE_SECONDS=$$(($(or $(MINUTES),10) * 60)) $(CARGO) test --locked -p sluice-lab --test e2e -- --nocapture outage

# What is compared takes turns in one program, so figures of one run may be compared, whatever else the machine does.
bench: ## Measure what a packet costs, in ten minutes, and write target/perf/summary.json and report.html; wants an idle machine
	@tests/prepare.sh build
	$(CARGO) build --release --locked -p sluice-perf
	@$(TARGET)/release/sluice-perf pipeline --set bench
	@$(TARGET)/release/sluice-perf report

bench-full: ## The same of all cases by flows, size, family and workers, and by services and policies, in twenty minutes; wants an idle machine
	@tests/prepare.sh build
	$(CARGO) build --release --locked -p sluice-perf
	@$(TARGET)/release/sluice-perf pipeline --set full
	@$(TARGET)/release/sluice-perf report

# What valgrind understands, whatever processor this is; the same everywhere, so that counts are.
instructions: ## Count the instructions of a packet and hold them against perf/instructions.json; UPDATE=1 makes them the new baseline
	@tests/prepare.sh count
	RUSTFLAGS="-C target-cpu=x86-64-v3" $(CARGO) build --release --locked -p sluice-perf --target-dir $(TARGET)/perf/x86-64-v3
	@$(TARGET)/perf/x86-64-v3/release/sluice-perf instructions $(if $(filter-out 0 no false,$(UPDATE)),--update,--check)

ab: ## Compare the packet path of two revisions, A (HEAD) and B (the files as they are): what got faster or slower beyond noise
	@tests/prepare.sh build
	$(CARGO) build --release --locked -p sluice-perf
	@$(TARGET)/release/sluice-perf ab $(or $(A),HEAD) $(or $(B),.)

fuzz: ## Fuzz all targets for MINUTES (60) together, JOBS (2) at a time; TARGETS names some of them
	@fuzz/run.sh $(or $(MINUTES),60)

# What is set up lives in network namespaces of its own, and is gone afterwards.
compare: ## Measure Sluice beside the kernel with flannel and kube-proxy and beside a bare forwarder, taking turns, and write target/perf/compare.json; wants an idle machine of two CPUs, and root
	@tests/prepare.sh test
	$(CARGO) build --release --locked -p sluice -p sluice-perf
	@$(TARGET)/release/sluice-perf compare

# The interpreter knows no huge pages and no kernel interfaces; property tests run with few cases.
miri: ## Run the tests of frame memory under miri; needs a nightly toolchain with miri
	@$(CARGO) +nightly miri --version >/dev/null || { echo "miri is missing: rustup component add miri rust-src --toolchain nightly" >&2; exit 1; }
	MIRIFLAGS=-Zmiri-strict-provenance $(CARGO) +nightly miri test --locked --target-dir $(TARGET)/miri -p sluice-mem

# Needs QEMU, a guest kernel and minutes, so CI does not run it; tests/vm/zero-copy.sh says what is missing.
vm-test: ## Only AF_XDP zero-copy, bonds and VLANs, in a QEMU guest; VM=FOLDER names what boots it (../shared/vm)
	@tests/vm/zero-copy.sh
	@tests/vm/uplinks.sh

deny: ## Check licences, sources and duplicates of all crates; installs cargo-deny when it is missing (minutes)
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --offline check licenses bans sources
