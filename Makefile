# doublenat: what a developer types. `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
LINT := $(GO) tool -modfile=tools.mod golangci-lint
FUZZTIME ?= 2m
# The platforms that `make check` builds for (README, "Where it runs").
PLATFORMS := linux/amd64 linux/arm64 linux/arm/5

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

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt

.PHONY: lint
lint: ## check format and style
	$(LINT) fmt --diff
	$(LINT) run

.PHONY: build
build: ## build for every platform that we promise
	@for p in $(PLATFORMS); do IFS=/ read -r os arch arm <<<"$$p"; \
		echo "build $$p"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch GOARM=$$arm $(GO) build -trimpath -ldflags '-s -w' -o /dev/null ./cmd/doublenat || exit 1; \
	done

.PHONY: check
check: lint build race ## everything that must pass before a commit

.PHONY: cover
cover: ## print the coverage of each package
	$(GO) test -cover ./...

.PHONY: bench
bench: ## run the benchmarks (allocations count, times are for reading)
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 2m)
	@$(GO) list -f '{{$$d := .Dir}}{{range .TestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$d}}/{{.}}{{"\n"}}{{end}}' ./... | \
		xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's/^(.*)\/[^/]+:func /\1 /' | \
		while read -r dir target; do \
			echo "fuzz $$target in $${dir#$(CURDIR)/}"; \
			(cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done
