# What can be done with this tree. Each recipe is a line or two; what is longer
# is a script. `make help` lists the targets.

CARGO ?= cargo
TARGET = $(shell uname -m)-unknown-linux-gnu
PREFIX ?= /usr/local
BINARY = target/$(TARGET)/release/dirvol

# The driver runs in a plugin's empty root file system, so it needs no libc there.
STATIC = RUSTFLAGS="-C target-feature=+crt-static $(INLINE) $$($(PACKED)) $$($(SHORT))" $(CARGO)

# What is marked #[inline] is copied into its callers where it is as small as whatever else
# is, and not up to LLVM's 325, which holds even where it optimises for size: 140 kB less.
INLINE = -C llvm-args=-inlinehint-threshold=50

# Relocations in their packed form (RELR) are 94 kB less. A binary applies its own, and
# has learnt this form from glibc 2.36 (Debian 12); with an older one it would not start.
PACKED = [ $$(echo __GLIBC_MINOR__ | cc -E -P -xc -include features.h -) -ge 36 ] \
	&& echo -C link-arg=-Wl,-z,pack-relative-relocs

# A place in a crate, for a panic, is told from the crate on: where cargo keeps crates here
# is nobody's business, and 9 kB.
SHORT = for dir in $${CARGO_HOME:-$$HOME/.cargo}/registry/src/*; do \
	echo --remap-path-prefix=$$dir=; done

export QUICK T N SEED ONLY PLUGIN ROOT QUOTA DOCKER_BUILD DOCKER_BUILD_OPTIONS BUILDER IMAGE DESTDIR PREFIX

.PHONY: help build check test test-unit test-budgets test-monitoring test-engine test-plugin test-life test-vm test-scale test-swarm test-scale-out test-cuts test-faults test-host test-host-long power-cuts fuzz soak plugin plugin-create plugin-enable plugin-push plugin-install plugin-rm install deb install-cli demo run bench bench-nodes bench-clone setup clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

build: ## the static release binary
	@scripts/setup build
	$(STATIC) build --release --target $(TARGET)
	@$(BINARY) --version
	@ls -l $(BINARY)

check: ## format, lints and documentation, all warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --test budgets --test monitoring --test engine --test plugin --test host --test boot --test life --test vm --test scale --test swarm --test cuts --test power --test faults -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --no-deps --document-private-items

test: ## check, and every tier of tests
	@scripts/test check unit budgets monitoring engine plugin host life vm scale swarm cuts faults

test-unit: ## the library, the invariants, and the driver as a process
	@scripts/test unit

test-budgets: ## instructions, system calls, memory and size of the release binary (root, x86_64)
	@scripts/test budgets

test-monitoring: ## metrics, alerts and dashboard against a real Prometheus
	@scripts/test monitoring

test-engine: ## against a real dockerd (root)
	@scripts/test engine

test-plugin: ## as a managed plugin of a real dockerd (root)
	@scripts/test plugin

test-life: ## limits, clones, import and export on loop mounts of ext4, xfs and btrfs (root)
	@scripts/test life

test-vm: ## limits on xfs and ext4 with project quota, in a virtual machine
	@scripts/test vm

test-scale: ## one root on NFS and a driver on each of several nodes, in a virtual machine
	@scripts/test scale

test-swarm: ## one root and three nodes of a real Swarm, each a dockerd with namespaces of its own (root)
	@scripts/test swarm

test-scale-out: ## all of one root that many nodes serve: scale and swarm
	@scripts/test scale swarm

test-cuts: ## power cuts on loop mounts of ext4, xfs and btrfs (root)
	@scripts/test cuts

test-faults: ## every step of every operation fails once; disks that are full or fail (root)
	@scripts/test faults

test-host: ## Podman, Compose, Swarm, Ansible; units, the Debian package (root)
	@scripts/test host

test-host-long: ## a real systemd with docker.io, podman and the package, in a container (root)
	@scripts/test host-long

power-cuts: ## by hand, power cuts in a virtual machine: N=200 of them, SEED=number repeats
	@scripts/setup test && scripts/vm-kernel
	@scripts/power-cuts

fuzz: ## libFuzzer on each reader of foreign bytes: T=seconds for each, ONLY=target (nightly)
	@scripts/fuzz

soak: ## 64 clients' mixed calls, each answer checked: T=seconds
	DIRVOL_TEST_SECONDS=$${T:-600} $(CARGO) test --test service soak:: -- --nocapture

demo: ## the main job end to end; ENGINE=host uses the dockerd that runs
	@scripts/demo

plugin: ## the managed plugin's bundle, in plugin/build; DOCKER_BUILD=1 builds in a container, QUOTA=1 for limits
	@scripts/plugin bundle

plugin-create: ## make a plugin of the bundle: PLUGIN=name:tag
	@scripts/plugin create

plugin-enable: ## enable it on ROOT=dir, which is made
	@scripts/plugin enable

plugin-push: ## push it to its registry
	@scripts/plugin push

plugin-install: ## install it from its registry on ROOT=dir
	@scripts/plugin install

plugin-rm: ## remove it; the volumes stay
	@scripts/plugin rm

install: build ## binary, units, manual, completions: DESTDIR= PREFIX=
	@scripts/install $(BINARY)
	@[ -n "$(DESTDIR)" ] || echo "now, as docs/systemd.md says: dirvol init /var/lib/dirvol &&" \
		"systemctl daemon-reload && systemctl enable --now dirvol.socket dirvol.service"

deb: build ## the Debian package, in target/packages
	@scripts/deb $(BINARY)
	@ls -l target/packages

install-cli: build ## the command line on this host: PREFIX=/usr/local
	install -D -m 0755 $(BINARY) $(PREFIX)/bin/dirvol

run: ## serve ./target/run by hand, until Ctrl-C
	$(CARGO) run -- serve --root target/run/root --state-dir target/run/state \
		--socket target/run/dirvol.sock --log-level debug

bench: ## footprint, then speed beside peers, into docs/performance.md (root); QUICK=1: two minutes, into target/bench
	@scripts/setup bench
	[ -n "$(QUICK)" ] || $(STATIC) bench --target $(TARGET) --bench footprint
	$(STATIC) bench --target $(TARGET) --bench speed

bench-nodes: ## Create and Mount on one, two and three nodes of one root, side by side
	$(STATIC) bench --target $(TARGET) --bench nodes

bench-clone: build ## a copy of 1 GiB in 10,000 files: snapshot, reflink, copy side by side (root)
	@scripts/bench-clone $(BINARY)

setup: ## install what the tests need (Debian, Ubuntu)
	@scripts/setup test

clean: ## remove what was built
	$(CARGO) clean
