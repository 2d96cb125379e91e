#!/usr/bin/env bash
# Everything that must pass, in phases: installs what is needed, builds, checks,
# tests without the lab, then a lab of each profile and all end-to-end tests in
# it. A failed phase does not hide the others; those that depend on it are left
# out. Ends with the time of each phase and the number of tests. Replaces a lab
# that runs.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
lab_dir=${ISTHMUS_LAB_DIR:-/run/isthmus-lab}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TALLY=$work/tally ISTHMUS_BEFORE=$work/neutron-before
touch "$TALLY"
budget=() broken=() started=$SECONDS

# phase NAME COMMAND...: runs it, tells how long it took and whether it worked.
phase() {
  local name=$1 begin=$SECONDS result=ok status=0
  shift
  printf '\n=== %s\n' "$name"
  "$@" </dev/null || status=$?
  if ((status)); then result="FAILED ($status)"; broken+=("$name"); fi
  budget+=("$(printf '%-38s %5d s  %s' "$name" $((SECONDS - begin)) "$result")")
  return "$status"
}

# tests GO-TEST-ARGS...: go test, counted; shows packages, slow tests and whole failures.
tests() { go test -json "$@" | "$work/count"; }

# in_lab PROFILE WHAT COMMAND...: a phase of that lab.
in_lab() {
  local name="$1: $2"
  shift 2
  phase "$name" "$@"
}

end_to_end() { in_lab "$1" 'end-to-end tests' tests -tags e2e -count 1 -timeout 40m ./test/e2e; }

# contract PROFILE: what the tests' Neutron promises, the real one keeps.
contract() { in_lab "$1" 'contract with Neutron' tests -count 1 -run '^TestContract$' ./internal/neutron; }

# Neutron's rows are taken down before Isthmus is installed, to be compared after.
shared_ovn() {
  local lab=shared-ovn
  in_lab $lab 'start, without Isthmus' isthmus-lab up --profile $lab --isthmus=false || return 1
  (eval "$(isthmus-lab env)" && exec "$work/snapshot" "$OVN_NB_DB") >"$ISTHMUS_BEFORE" || return 1
  in_lab $lab 'install Isthmus' isthmus-lab up || return 1
  end_to_end $lab || return 1
  local -x ISTHMUS_CLOUDS=$lab_dir/openstack/clouds.yaml
  contract $lab
}

neutron() {
  local lab=neutron
  in_lab $lab 'start, with Isthmus' isthmus-lab up --profile $lab || return 1
  end_to_end $lab || return 1
  local -x ISTHMUS_CLOUDS=$lab_dir/openstack/clouds.yaml
  contract $lab || return 1
  in_lab $lab 'balancers of the real Octavia' tests -tags cloud -count 1 -run '^TestReal$' ./internal/octavia
}

nested() {
  local lab=nested
  in_lab $lab 'start, with Isthmus' isthmus-lab up --profile $lab || return 1
  end_to_end $lab
}

# lab PROFILE COMMAND: what a reader needs is printed while the lab still stands.
lab() {
  "$2" || test/logs.sh "$lab_dir"
  in_lab "$1" 'stop, and what it leaves' tests -tags e2e -count 1 ./test/down
}

prepare() {
  phase 'packages' scripts/packages.sh &&
    phase 'build Kubernetes (cached by version)' scripts/kubernetes.sh &&
    phase 'build' make build coredns PROFILE=neutron
}

go build -o "$work/count" ./test/tally && go build -o "$work/snapshot" ./test/snapshot || exit 1
if prepare; then
  phase 'clear what a lab left over' isthmus-lab down || exit 1
  phase 'vet and format' make vet
  phase 'unit and script tests, race detector' tests -race ./api/... ./cmd/... ./internal/... ./test/neighbour
  lab shared-ovn shared_ovn
  lab neutron neutron
  lab nested nested
fi

printf '\n%-38s %7s\n' 'phase' 'time'
printf '%s\n' "${budget[@]}"
printf '%-38s %5d s\n\n' 'all' $((SECONDS - started))
for name in "${broken[@]}"; do echo "FAILED: $name"; done
# All that a test may need was installed above, so none may be skipped.
awk '{ passed += $1; failed += $2; skipped += $3 }
  END { if (skipped) printf "FAILED: %d skipped\n", skipped
    printf "%d passed, %d failed\n", passed, failed; exit skipped > 0 }' "$TALLY" &&
  ((${#broken[@]} == 0))
