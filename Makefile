# make test is what a newcomer and CI run. It needs Go, and for the tests against real peers Debian's nginx-light, iproute2,
# dbus-daemon, openssl, strace and curl, which it installs itself when it is root.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.PHONY: test lint unit e2e fuzz bench vuln needs

PEERS := nginx=nginx-light curl=curl aria2c=aria2 wget2=wget2
FUZZTIME ?= 1000x

test: needs lint unit e2e fuzz

needs:
	@.ci/need nginx=nginx-light ip=iproute2 dbus-daemon=dbus-daemon openssl=openssl strace=strace curl=curl

# gofmt, vet and staticcheck of each module; the tools are pinned in tools/go.mod.
lint:
	@unformatted=$$(gofmt -l .); \
		[ -z "$$unformatted" ] || { echo "not gofmt'd:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags=profile ./cmd/urlsession
	cd test && go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	cd test && go tool -modfile=../tools/go.mod staticcheck ./...

# The import law (internal/architecture) is one of these tests. A package that takes longer than the timeout hangs.
unit:
	go test -race -timeout 10m ./...

# The real binary against real servers.
e2e:
	cd test && go test -race -timeout 15m ./...

# A short run of each fuzz function; for a longer one: make fuzz FUZZTIME=10m
fuzz:
	@.ci/fuzz $(FUZZTIME)

# Minutes of full load: see docs/benchmarks.md. One scenario: go run ./bench small
bench:
	@.ci/need $(PEERS)
	go run ./bench
	go run ./bench -profile

# Known vulnerabilities in what we call. It needs the network, which is why make test does not run it.
vuln:
	go tool -modfile=tools/go.mod govulncheck ./...
