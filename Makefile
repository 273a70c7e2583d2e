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
BUDGET := 12000000

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

# Some packages wait for foreign programs and browsers, while others compute.
TOGETHER ?= 3

# With -short floods last some seconds, days some hours, and random tests try less.
.PHONY: test
test: ## run the tests
	$(GO) test -short -p $(TOGETHER) ./...

# The packages that race tests.
RACE ?= ./...

.PHONY: race
race: ## run the tests with the race detector
	$(GO) test -race -short -timeout 20m $(RACE)

# The race detector takes six times as long, and sees a race in some seconds of a flood or never:
# what lasts is run without it.
.PHONY: long
long: ## run the tests at their full length
	$(GO) test -timeout 20m ./...

# What the end to end tests run besides Go (docs/testing.md).
E2E_PACKAGES := conntrack curl gupnp-tools iproute2 keepalived miniupnpc miniupnpd-nftables natpmpc nftables python3-libtorrent python3-miniupnpc transmission-daemon tshark wireguard-go wireguard-tools
E2E_PACKAGES += $(if $(shell command -v npm),,nodejs npm)
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
FLOW ?=

# Without a package on its command line go test hides nothing of what the run says,
# for example that it skips the flows because something is missing.
.PHONY: e2e
e2e: ## send real packets through two real NATs (FLOW=name for one flow)
	cd e2e && $(GO) test -tags e2e -count=1 -timeout 10m -parallel 10 \
		$(if $(E2E_ROUTER),-v -run '^TestRouter$$',$(if $(FLOW),-v -run '^TestFlows$$/^$(FLOW)$$'))

.PHONY: e2e-deps
e2e-deps: ## install the programs that e2e runs, from Debian and npm
	$(AS_ROOT) apt-get update -q
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(E2E_PACKAGES)
	cd e2e && npm ci --ignore-scripts --no-audit --no-fund

# A real API server for the Lease of LOCK=kubernetes. It is compiled once, which takes a while.
.PHONY: kube
kube: ## share a Lease with client-go at a real kube-apiserver (needs kube-deps)
	$(GO) build -modfile=kube.mod -o dist/kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
	cd deploy && KUBE_APISERVER=$(CURDIR)/dist/kube-apiserver $(GO) test -count=1 -v -run Lease ./...

.PHONY: kube-deps
kube-deps: ## install etcd and kubectl, from Debian
	$(AS_ROOT) apt-get update -q
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends etcd-server $(if $(shell command -v kubectl),,kubernetes-client)

# What judges the status page by the rules of accessibility, for internal/ops.
.PHONY: axe
axe: ## install axe-core from npm, below tools/axe
	cd tools/axe && npm ci --ignore-scripts --no-audit --no-fund

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt

.PHONY: lint
lint: ## check format and style
	$(LINT) fmt --diff
	$(LINT) run

# What serves nobody's packets, or few: the lab, its test servers, what prints and judges set-ups,
# the page, the command line, the parts that join others, hooks, static mappings, pools, locks, the router's tables, which come by the network, and UPnP, whose boxes take longer for a
# call than all of it, with its HTTP, and TLS, whose ciphers are not among it; and what these need besides. Without
# inlining they take less of the binary, and so does net/http without HTTP/2, which nothing here needs (docs/decisions/0001).
COLD := $(addprefix doublenat/,routeros/routerostest natpmp/natpmptest pcp/pcptest igd/igdtest internal/lab internal/check internal/walk \
	internal/setup internal/remedy internal/config internal/foreign internal/ops igd internal/gateway/upnp \
	internal/gateway/pool stun internal/hook internal/static internal/readonly internal/daemon internal/router internal/lock/... cmd/doublenat) \
	github.com/spf13/... os os/exec log/slog html reflect internal/fmtsort flag sort \
	$(addprefix crypto/internal/fips140/,mlkem mldsa ed25519 edwards25519 ecdsa rsa tls12 tls13) \
	github.com/caarlos0/... net/http net/textproto net/url encoding/xml encoding/json crypto/tls crypto/x509 \
	regexp regexp/syntax runtime/pprof text/... compress/... encoding/asn1 mime/... vendor/golang.org/x/text/... vendor/golang.org/x/net/... \
	crypto/elliptic crypto/ecdsa crypto/rsa crypto/hpke math/big

# The tag, or the commit where there is none; a build without git gives it by hand.
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null)

# The one build line; the Dockerfile uses it too.
.PHONY: binary
binary: ## build a static binary for OS, ARCH and ARM into OUT
	CGO_ENABLED=0 GOOS=$(OS) GOARCH=$(ARCH) $(if $(filter arm,$(ARCH)),GOARM=$(ARM)) \
		$(GO) build -trimpath -tags nethttpomithttp2 $(COLD:%=-gcflags=%=-l) -ldflags '-s -w -X main.stamp=$(VERSION)' -o $(OUT) ./cmd/doublenat

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

# What is published of a version, from a clone of the commit: two runs give the same bytes (docs/decisions/0031).
RELEASE ?= dist/release
PLATFORMS_OF_RELEASE ?=
.PHONY: release
release: ## make what is published of VERSION (1.2.3) in dist/release: binaries, packages, images, checksums
	@$(GO) run ./tools/release -version '$(VERSION)' -out '$(RELEASE)' -certificates '$(CERTIFICATES)' -platforms '$(PLATFORMS_OF_RELEASE)'

# What judges packages and images (docs/testing.md).
PACKAGES_PACKAGES := iproute2 openrc procps qemu-user-static rpm skopeo systemd util-linux
.PHONY: packages-deps
packages-deps: ## install the programs that packages-test runs, from Debian
	$(AS_ROOT) apt-get update -q
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(PACKAGES_PACKAGES)

# Three releases: all platforms, some of them again from another clone, and a later version to upgrade to. The
# mount namespace takes away what the test mounts, however it ends. Only the test needs root.
.PHONY: packages-test
packages-test: ## make releases, install, run, upgrade and remove them (as root, or with sudo)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && git clone -q . "$$dir/clone" && \
		$(MAKE) --no-print-directory release VERSION=0.0.1 RELEASE="$$dir/first" && \
		$(MAKE) --no-print-directory -C "$$dir/clone" release VERSION=0.0.1 RELEASE="$$dir/again" PLATFORMS_OF_RELEASE=linux_amd64,linux_armv5 CERTIFICATES='$(CERTIFICATES)' && \
		$(MAKE) --no-print-directory release VERSION=0.0.2-rc.1 RELEASE="$$dir/second" PLATFORMS_OF_RELEASE=linux_amd64 && \
		$(GO) test -tags packages -c -o "$$dir/test" ./tools/release && cd tools/release && \
		$(AS_ROOT) unshare --mount "$$dir/test" -test.timeout 10m -first "$$dir/first" -again "$$dir/again" -second "$$dir/second"

.PHONY: deploy-test
deploy-test: ## hold the files for Compose, Kubernetes and GitHub against those who read them
	cd deploy && $(GO) test -count=1 ./...
	$(GO) tool -modfile=workflows.mod actionlint -shellcheck= -pyflakes= .github/workflows/*.yml

# The largest image that a registry or a mirror has to keep, compressed, for each platform.
IMAGE_BUDGET := 5000000

.PHONY: size
size: build ## print the size of each binary and image, and hold the binary for linux/arm/5 and the images against the budgets
	@stat -c '%s %n' $(addprefix dist/doublenat-,$(subst /,-,$(PLATFORMS))) | sort -n
	@size=$$(stat -c %s dist/doublenat-linux-arm-5); \
		echo "linux/arm/5: $$size of $(BUDGET) bytes"; \
		[ "$$size" -le $(BUDGET) ]
	@GOOS= GOARCH= $(GO) build -o dist/image ./tools/image
	@fits=0; for platform in $(PLATFORMS); do \
		image=dist/doublenat-$${platform//\//-}; \
		dist/image -program $$image -certificates '$(CERTIFICATES)' -out $$image.tar >/dev/null || exit 1; \
		size=$$(gzip -9nc $$image.tar | wc -c); \
		echo "$$platform: compressed image $$size of $(IMAGE_BUDGET) bytes"; \
		[ "$$size" -le $(IMAGE_BUDGET) ] || fits=1; \
	done; exit $$fits

# One process for each core, on one core each: a seed then replays (docs/simulation.md).
SEEDS ?= 1000
MODEL_DAYS ?= 100000
MODEL_KIND ?= single
MODEL_BAD ?= 1
DAYS ?= 1
FIRST ?= 1
SEED ?= 0
KIND ?=
JOBS ?= $(shell nproc)

.PHONY: sim-model
sim-model: ## live MODEL_DAYS (100000) of the core between models, from seed FIRST (MODEL_KIND=pair: of two doublenats; MODEL_BAD=15: so many times the faults)
	GOGC=1600 $(GO) test ./internal/sim/model -count=1 -v -timeout 0 -first $(FIRST) -bad $(MODEL_BAD) \
		$(if $(filter pair,$(MODEL_KIND)),-run '^TestPairs$$' -pairs $(MODEL_DAYS),-run '^TestDays$$' -days $(MODEL_DAYS))

.PHONY: replay
replay: ## live 1,000 days of the core twice, on one core and on two, and compare every action
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(GO) test -c -o "$$dir/model" ./internal/sim/model && cd internal/sim/model && \
	for cores in 1 2; do \
		GOMAXPROCS=$$cores "$$dir/model" -test.v -test.run '^TestReplay$$' -test.timeout 0 -replays 1000 | tee "$$dir/out" | grep -e digest -e FAIL; \
		grep -o 'days: .*' "$$dir/out" > "$$dir/$$cores" || exit 1; \
	done && cmp "$$dir/1" "$$dir/2"

.PHONY: planted
planted: ## plant mistakes in the core and in what keeps a pair apart, and see that the models find them
	$(GO) test ./internal/sim/model -count=1 -v -run '^TestPlanted' -timeout 60m -planted

# A day of the second level costs a hundredth of one of the first.
.PHONY: sim
sim: ## simulate SEEDS (1000) times DAYS (1) of clients and faults, and a hundred times as many days of the core alone; or replay one SEED (KIND=natpmp, pcp, igd or pool)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(GO) test -c -o "$$dir/sim" ./internal/sim && cd internal/sim && export GOMAXPROCS=1 GOGC=800 && \
	if [ $(SEED) != 0 ]; then \
		"$$dir/sim" -test.v -test.run TestSimulation -test.timeout 0 -seed $(SEED) -days $(DAYS) -kind "$(KIND)"; \
	else \
		seq 0 $$(($(JOBS) - 1)) | xargs -P $(JOBS) -I{} sh -c \
			"$$dir/sim -test.v -test.run TestSimulation -test.timeout 0 -days $(DAYS) -kind '$(KIND)' \
			-seeds \$$(($(SEEDS) / $(JOBS))) -first \$$(($(FIRST) + {} * ($(SEEDS) / $(JOBS))))"; \
	fi
	$(if $(KIND)$(filter-out 0,$(SEED)),,@$(MAKE) --no-print-directory sim-model MODEL_DAYS=$$(($(SEEDS) * 100)))

.PHONY: sim-pair
sim-pair: ## simulate SEEDS (1000) times two doublenats of which one is active, from seed FIRST, or replay one SEED
	GOMAXPROCS=1 GOGC=400 $(GO) test ./internal/sim -count=1 -v -timeout 0 -run '^TestPairs$$' -pairs $(SEEDS) -first $(FIRST) -pair $(SEED)

.PHONY: thirty-days
thirty-days: ## live 30 virtual days with each gateway as real clients do, and print how long ports were reachable
	$(GO) test -count=1 -timeout 30m ./internal/clients -v -run 'TestThirtyDays|TestRenewalLoad' -days 30

.PHONY: nightly
nightly: ## what CI has no time for: full length, fuzzing, a month, and simulated days (SEEDS)
	$(MAKE) --no-print-directory long
	$(MAKE) --no-print-directory ci-fuzz
	$(MAKE) --no-print-directory thirty-days
	$(MAKE) --no-print-directory sim

.PHONY: check
check: lint size race long ## everything that must pass before a commit

.PHONY: browser
browser: axe ## show the status page to a headless Chromium (Debian: chromium) and to axe-core
	CI=true $(GO) test -count=1 ./internal/ops -run 'TestPage|TestPorts|TestRemedies|TestCharts|TestStale'

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
docs: ## write the tables of variables and metrics, the recipe, and the man pages
	$(GO) test ./internal/config -run TestDocuments -update
	$(GO) test ./internal/setup -run TestGoldenRecipe -update
	$(GO) test ./cmd/doublenat -run TestManPages -update
	$(GO) test ./internal/ops -run TestMetricsAreDocumented -update

.PHONY: bench
bench: ## run the benchmarks (allocations count, times are for reading)
	$(GO) test -run '^$$' -bench . -benchmem ./...

# LOAD takes flags: -quick, -full, -bounds (docs/performance.md).
LOAD ?=
.PHONY: load
load: binary ## measure the built binary under load and at rest, in some five minutes (LOAD=-quick for less)
	@$(GO) run ./tools/load -binary ./$(OUT) $(LOAD)

# The second try is for go test, whose workers sometimes call the end of the time a failure. What fails on an input
# fails again: the input is in testdata by then. To shrink an input whose coverage changes from run to run takes all
# the time that it is given: that is bounded in executions.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 2m)
	@$(GO) list -f '{{$$d := .Dir}}{{range .TestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}' ./... | \
		xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's/^(.*)\/[^/]+:func /\1 /' | \
		while read -r dir target; do \
			echo "fuzz $$target in $${dir#$(CURDIR)/}"; \
			try() { (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x .); }; \
			try || try || exit 1; \
		done

.PHONY: ci-fuzz
ci-fuzz: ## run every fuzz target for 5s
	$(MAKE) --no-print-directory fuzz FUZZTIME=5s

# Mistakes of a table (tools/mutants), one by one: which test notices? MUTANTS limits it to packages.
MUTANTS ?=
.PHONY: mutants
mutants: ## make mistakes in the source and tell which test notices each (MUTANTS='natpmp' for some packages)
	$(GO) run ./tools/mutants $(MUTANTS)

# Every operator that can be turned into another one, in one package: some minutes. All mistakes are in one test
# binary, each behind a switch.
.PHONY: mistakes
mistakes: ## make every small mistake in the package PKG (natpmp), and tell which no test notices
	$(GO) run ./tools/mutants -every $(or $(PKG),natpmp)

# The same by gremlins, which compiles the package for each mistake. Takes an hour for a large one, on a machine with
# nothing else to do: a test that is slowed down counts as timed out, and not as one that noticed.
.PHONY: gremlins
gremlins: ## make every mistake that gremlins knows in the package PKG (natpmp)
	GOFLAGS="-short -vet=off" $(GO) tool -modfile=mutants.mod gremlins unleash ./$(or $(PKG),natpmp) --workers 1 --timeout-coefficient 6 -E 'natpmptest|routerostest'

.PHONY: clean
clean: ## remove what was built
	rm -rf dist doublenat
