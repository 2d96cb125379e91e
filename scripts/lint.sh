#!/usr/bin/env bash
# Builds golangci-lint from the Go module proxy, once per version of golangci-lint and of
# its modules, and prints the program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(go list -modfile=tools/go.mod -m -f '{{.Version}}' github.com/golangci/golangci-lint/v2)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/isthmus/golangci-lint-$version
program=$dir/golangci-lint-$(cat tools/go.mod tools/go.sum | sha256sum | cut -c1-12)
if [[ ! -x $program ]]; then
  echo "building golangci-lint $version (minutes if the Go build cache is cold)" >&2
  mkdir -p "$dir"
  new=$(mktemp "$dir/.build.XXXXXX")
  trap 'rm -f "$new"' EXIT
  CGO_ENABLED=0 nice go build -modfile=tools/go.mod -trimpath -ldflags '-s -w' -o "$new" \
    github.com/golangci/golangci-lint/v2/cmd/golangci-lint >&2
  rm -f "$dir"/golangci-lint-*
  mv "$new" "$program"
fi
echo "$program"
