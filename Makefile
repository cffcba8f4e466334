# The commands of a developer's day. CONTRIBUTING.md says when to use which.
.PHONY: run build test lint ci check fuzz bench microbench overload deps

# A whole Latchkey in ./run, which is kept for the next time. LISTEN=host:port
# takes another address than the configuration's.
run:
	scripts/install-deps run
	go build -o bin/latchkey ./cmd/latchkey
	@bin/latchkey demo --dir run $(if $(LISTEN),--listen $(LISTEN))

build:
	go build ./...
	go build -o bin/latchkey ./cmd/latchkey

test: deps
	scripts/test

ci:
	.ci/run

lint:
	scripts/lint

check:
	scripts/check

fuzz:
	scripts/fuzz $(FUZZTIME)

# Every room beside the bare PKCS#11 loop, in one run, and OpenBao where it can be
# built. docs/performance.md has the flags.
bench: deps build
	-scripts/openbao
	go build -o bin/bench ./softhsm-test/bench
	bin/bench $(BENCHFLAGS)

# Ten times what the HSM can do is asked for, for a minute.
overload: deps
	LATCHKEY_OVERLOAD=$(or $(OVERLOADTIME),1m) go test -count=1 -v -run '^TestOverload$$' ./softhsm-test

microbench: deps
	go test -run '^$$' -bench . -benchmem ./...

deps:
	scripts/install-deps test
