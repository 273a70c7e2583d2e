# doublenat: what a developer types. `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
LINT := $(GO) tool -modfile=tools.mod golangci-lint
FUZZTIME ?= 2m

# The platforms that `make build` builds for, as os/arch or os/arch/GOARM. They
# are those of the container image (Dockerfile) and of the README.
PLATFORMS := linux/amd64 linux/arm64 linux/arm/7 linux/arm/5
# The largest binary that fits a router with 128 MB of flash beside RouterOS
# (docs/decisions/0001), in bytes, for linux/arm/5.
BUDGET := 11000000

# What `make binary` builds.
OS ?= $(shell $(GO) env GOOS)
ARCH ?= $(shell $(GO) env GOARCH)
ARM ?=
OUT ?= doublenat

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: lab
lab: ## run the whole thing with a built-in router and gateway
	$(GO) run ./cmd/doublenat lab

.PHONY: test
test: ## run the tests
	$(GO) test ./...

.PHONY: race
race: ## run the tests with the race detector
	$(GO) test -race ./...

# What the end to end tests run besides Go (docs/testing.md).
E2E_PACKAGES := conntrack iproute2 miniupnpd-nftables natpmpc nftables python3-libtorrent wireguard-go wireguard-tools
E2E_PACKAGES += $(if $(shell command -v npm),,nodejs npm)
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
FLOW ?=

# Without a package on its command line go test hides nothing of what the run says,
# for example that it skips the flows because something is missing.
.PHONY: e2e
e2e: ## send real packets through two real NATs (FLOW=name for one flow)
	cd e2e && $(GO) test -tags e2e -count=1 -timeout 10m -parallel 6 \
		$(if $(E2E_ROUTER),-v -run '^TestRouter$$',$(if $(FLOW),-v -run '^TestFlows$$/^$(FLOW)$$'))

.PHONY: e2e-deps
e2e-deps: ## install the programs that e2e runs, from Debian and npm
	$(AS_ROOT) apt-get update -q
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(E2E_PACKAGES)
	cd e2e && npm ci --ignore-scripts --no-audit --no-fund

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt

.PHONY: lint
lint: ## check format and style
	$(LINT) fmt --diff
	$(LINT) run

# The one build line; the Dockerfile uses it too.
.PHONY: binary
binary: ## build a static binary for OS, ARCH and ARM into OUT
	CGO_ENABLED=0 GOOS=$(OS) GOARCH=$(ARCH) $(if $(filter arm,$(ARCH)),GOARM=$(ARM)) \
		$(GO) build -trimpath -ldflags '-s -w' -o $(OUT) ./cmd/doublenat

.PHONY: build
build: ## build for every platform into dist/
	@for platform in $(PLATFORMS); do \
		IFS=/ read -r os arch arm <<<"$$platform"; \
		$(MAKE) --no-print-directory binary OS=$$os ARCH=$$arch ARM=$$arm OUT=dist/doublenat-$${platform//\//-} || exit 1; \
	done

# What the image has besides the binary; empty for the authorities of this machine.
CERTIFICATES ?=
IMAGE = dist/doublenat-linux-$(ARCH)$(if $(filter arm,$(ARCH)),-$(or $(ARM),$(error ARCH=arm needs ARM=5 or ARM=7)))

.PHONY: image
image: ## build a container image for ARCH and ARM into dist/, without a container engine
	@$(MAKE) --no-print-directory binary OS=linux ARCH=$(ARCH) ARM=$(ARM) OUT=$(IMAGE)
	@GOOS= GOARCH= $(GO) run ./tools/image -program $(IMAGE) -certificates '$(CERTIFICATES)' -out $(IMAGE).tar

.PHONY: size
size: build ## print the size of each binary and hold linux/arm/5 against the budget
	@stat -c '%s %n' $(addprefix dist/doublenat-,$(subst /,-,$(PLATFORMS))) | sort -n
	@size=$$(stat -c %s dist/doublenat-linux-arm-5); \
		echo "linux/arm/5: $$size of $(BUDGET) bytes"; \
		[ "$$size" -le $(BUDGET) ]

# One process for each core, on one core each: a seed then replays (docs/simulation.md).
SEEDS ?= 1000
DAYS ?= 1
FIRST ?= 1
SEED ?= 0
JOBS ?= $(shell nproc)

.PHONY: sim
sim: ## simulate SEEDS (1000) times DAYS (1) of clients and faults, or replay one SEED
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(GO) test -c -o "$$dir/sim" ./internal/sim && cd internal/sim && export GOMAXPROCS=1 GOGC=400 && \
	if [ $(SEED) != 0 ]; then \
		"$$dir/sim" -test.v -test.run TestSimulation -test.timeout 0 -seed $(SEED) -days $(DAYS); \
	else \
		seq 0 $$(($(JOBS) - 1)) | xargs -P $(JOBS) -I{} sh -c \
			"$$dir/sim -test.v -test.run TestSimulation -test.timeout 0 -days $(DAYS) \
			-seeds \$$(($(SEEDS) / $(JOBS))) -first \$$(($(FIRST) + {} * ($(SEEDS) / $(JOBS))))"; \
	fi

.PHONY: thirty-days
thirty-days: ## live 30 virtual days with each gateway as real clients do, and print how long ports were reachable
	$(GO) test -count=1 -timeout 30m ./internal/clients -v -run 'TestThirtyDays|TestRenewalLoad' -days 30

.PHONY: check
check: lint size race ## everything that must pass before a commit

.PHONY: browser
browser: ## show the status page to a headless Chromium (Debian: chromium)
	CI=true $(GO) test -count=1 ./internal/ops -run TestPage

.PHONY: screenshots
screenshots: ## make the screenshots of docs/monitoring.md again
	$(GO) test -count=1 ./internal/ops -run TestScreenshots -screenshots

# The packages of which at least FLOOR percent have to be covered by their own tests.
HELD := natpmp routeros internal/nat internal/config
FLOOR := 85
COVER ?= ./...

.PHONY: cover
cover: ## print the coverage of each package, and hold four of them to FLOOR (85) percent
	@set -o pipefail; $(GO) test -cover $(COVER) | awk -v held='$(HELD)' -v floor=$(FLOOR) ' \
		{ print } \
		match($$0, /coverage: [0-9.]+%/) { covered[$$1 == "ok" ? $$2 : $$1] = substr($$0, RSTART + 10, RLENGTH - 11) } \
		END { \
			for (n = split(held, names, " "); n > 0; n--) { \
				name = "doublenat/" names[n]; \
				if (!(name in covered) || covered[name] + 0 < floor) { \
					print name ": " (name in covered ? covered[name] "%" : "nothing") " is covered, want at least " floor "%"; \
					low = 1 \
				} \
			} \
			exit low \
		}'

.PHONY: ci-cover
ci-cover: ## hold the four to it without testing the rest
	$(MAKE) --no-print-directory cover COVER='$(addprefix ./,$(HELD))'

.PHONY: docs
docs: ## write the tables of variables and metrics, and the man pages
	$(GO) test ./internal/config -run TestDocuments -update
	$(GO) test ./cmd/doublenat -run TestManPages -update
	$(GO) test ./internal/ops -run TestMetricsAreDocumented -update

.PHONY: bench
bench: ## run the benchmarks (allocations count, times are for reading)
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The second try is for go test, whose workers sometimes call the end of the time a failure. What fails on an input
# fails again: the input is in testdata by then.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 2m)
	@$(GO) list -f '{{$$d := .Dir}}{{range .TestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}' ./... | \
		xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's/^(.*)\/[^/]+:func /\1 /' | \
		while read -r dir target; do \
			echo "fuzz $$target in $${dir#$(CURDIR)/}"; \
			try() { (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .); }; \
			try || try || exit 1; \
		done

.PHONY: ci-fuzz
ci-fuzz: ## run every fuzz target for 10s
	$(MAKE) --no-print-directory fuzz FUZZTIME=10s

.PHONY: clean
clean: ## remove what was built
	rm -rf dist doublenat
