#!/usr/bin/env bash
# Builds the lab's CoreDNS from the Go module proxy, once per version, and prints
# the program's path.
set -euo pipefail
cd "$(dirname "$0")/../tools/coredns"
version=$(go list -m -f '{{.Version}}' github.com/coredns/coredns)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/isthmus/coredns-$version
# The version does not cover the plugins, so the name also has a checksum of the sources.
program=$dir/coredns-$(cat main.go go.sum | sha256sum | cut -c1-12)
if [[ ! -x $program ]]; then
  echo "building CoreDNS $version (minutes if the Go build cache is cold)" >&2
  mkdir -p "$dir"
  new=$(mktemp "$dir/.build.XXXXXX")
  trap 'rm -f "$new"' EXIT
  CGO_ENABLED=0 nice go build -trimpath -ldflags '-s -w' -o "$new" . >&2
  rm -f "$dir"/coredns-*
  mv "$new" "$program"
fi
echo "$program"
