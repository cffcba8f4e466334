# The commands of a developer's day. CONTRIBUTING.md says when to use which.
.PHONY: build test lint check fuzz bench deps

build:
	go build ./...

test: deps
	scripts/test

lint:
	scripts/lint

check:
	scripts/check

fuzz:
	scripts/fuzz $(FUZZTIME)

bench: deps
	go test -run '^$$' -bench . -benchmem ./...

deps:
	scripts/install-deps test
