# What a developer types. Each target fetches and builds what it needs; Go itself is expected to be there.
GO      ?= go
VERSION ?= 0.1.0-dev
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.revision=$(COMMIT)

# A module of its own for each part whose dependencies the others shall not have.
MODULES = $(patsubst %/go.mod,%,$(wildcard e2e/go.mod e2e/deploy/go.mod bench/go.mod deploy/image/go.mod))

.PHONY: run test e2e e2e-nodes e2e-kernel bench bench-large lint build image image-root

run: build ## serve the demo's cluster on 127.0.0.1:1053
	@tools/need dig bind9-dnsutils || true
	@.cache/bin/waypost demo

test: ## all tests of the main module, with the race detector
	@tools/need gcc gcc libc6-dev
	$(GO) test -race -shuffle=on ./... ./testdata/scenario
	cd deploy/image && $(GO) test ./...

e2e: ## the tests against a real Kubernetes and real peers; as root, or where users may make namespaces
	cd e2e && $(GO) test -count=1 -v -timeout 60m $$($(GO) list ./... | grep -v /nodes)
	cd e2e && $(GO) test -count=1 -v -timeout 30m ./nodes/...
	cd e2e/deploy && $(GO) test -count=1 -v -timeout 30m ./...

e2e-nodes: ## what real nodes lose over 20 rolling restarts, 1,000,000 queries and 5 minutes without an API server; as root
	cd e2e && $(GO) test -count=1 -v -timeout 60m ./nodes -args -long

# The machine is not given what an API server needs. What developers' kernels may lack, IPVS, has the tag vm.
NOT_IN_VM = TestWithAnAPIServer

e2e-kernel: ## the companion's packets, and what IPVS leaves, on Debian's own kernel, 6.1, in an emulated machine
	@mkdir -p .cache/vm
	cd e2e && CGO_ENABLED=0 $(GO) test -c -tags vm -o ../.cache/vm/route.test ./route
	tools/vm .cache/vm/route.test -test.v -test.timeout 40m -test.skip '$(NOT_IN_VM)'

bench: ## the figures, with real peers beside
	$(GO) test -run '^$$' -bench . ./...
	@for m in $(filter bench,$(MODULES)); do (cd $$m && $(GO) test -count=1 -v -timeout 60m -skip Large ./...) || exit 1; done

bench-large: ## the companion's figures at 50,000 Services and 250,000 endpoints; as root
	cd bench && $(GO) test -count=1 -v -timeout 60m -run Large ./...

lint: ## gofmt, govet, staticcheck (with unused), errcheck, ineffassign
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	$(GO) tool -modfile=tools/go.mod errcheck -ignoretests -exclude tools/errcheck.txt ./...
	$(GO) tool -modfile=tools/go.mod ineffassign ./...
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./...) || exit 1; done
	@cd e2e && $(GO) vet -tags vm ./...

build: ## the programs, static, in .cache/bin
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o .cache/bin/ ./cmd/...

# The images' names begin with it; nothing is sent there.
REGISTRY ?= localhost

image: ## container images of both programs for amd64 and arm64, as archives in .cache/image; no container engine is needed
	@for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o .cache/image/$$arch/ ./cmd/... || exit 1; \
	done
	@cd deploy/image && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH-$$(git log -1 --format=%ct 2>/dev/null)} \
		$(GO) run . -repository $(REGISTRY) -tag $(VERSION) -revision '$(COMMIT)' ../../.cache/image

image-root: # the files of the images for ARCH, which deploy/image/Dockerfile copies; as root
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o .cache/image/$(ARCH)/ ./cmd/...
	cd deploy/image && $(GO) run . -root ../../.cache/image/root -arch $(ARCH) ../../.cache/image
