#!/usr/bin/env bash
# Fails if "make gen" or "go mod tidy" would change a file, and prints the difference. It
# changes no file itself. A test of internal/arch checks the diagram in docs/design.md.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
status=0

cp -r --parents Makefile go.mod go.sum tools/go.mod tools/go.sum api "$copy"
make -C "$copy" crds >/dev/null
if ! diff -ru api "$copy/api"; then
  echo 'generated files are out of date: run make gen and commit the result' >&2
  status=1
fi

for module in . tools tools/coredns tools/kubernetes; do
  if ! (cd "$module" && go mod tidy -diff); then
    echo "$module/go.mod is out of date: run go mod tidy there" >&2
    status=1
  fi
done
exit "$status"
