# Everything that is done to this project by hand or by CI. `make test` is the one to know.

GO ?= go
# Systems that the program is built for, besides this one.
CROSS := windows/amd64 windows/arm64 darwin/amd64 darwin/arm64 linux/arm64

# The same flags everywhere, so that what one target compiles another finds in the cache.
RELEASE := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w'

.PHONY: build test check unit e2e cross bench lint man fuzz clean

build: ## the program, into bin/
	$(RELEASE) -o bin/pomerium-cli ./cmd/pomerium-cli

test: check unit cross e2e ## all of it

check:
	$(GO) vet ./...
	$(GO) -C e2e vet ./...
	$(GO) -C tools/man vet ./...
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$files" || { echo "not gofmt'd:" $$files; exit 1; }

unit: ## with Go alone
	$(GO) test -race ./...

e2e: ## with real parts: needs root on Debian; elsewhere it says what it leaves out
	$(GO) -C e2e test -count=1 -p 1 -timeout 15m ./...

cross: ## the program for the other systems, thrown away; vet compiles the tests, too
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && for target in $(CROSS); do \
		export GOOS=$${target%/*} GOARCH=$${target#*/}; \
		echo "$$GOOS/$$GOARCH: go vet and go build"; \
		$(GO) vet -trimpath ./... && $(RELEASE) -o "$$out/" ./cmd/pomerium-cli || exit 1; \
	done

bench: build ## compares bin/pomerium-cli with others; prints the table of docs/PERFORMANCE.md
	$(GO) -C e2e run ./bench

lint:
	$(GO) tool -modfile=tools/golangci-lint/go.mod golangci-lint run
	cd e2e && $(GO) tool -modfile=../tools/golangci-lint/go.mod golangci-lint run --config ../.golangci.yml

man: ## man pages, into man/
	$(GO) -C tools/man run . ../../man

fuzz: ## every fuzz target for a few seconds
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime 10s $$package || exit 1; \
		done; \
	done

clean:
	rm -rf bin man
