#!/usr/bin/env bash
# Everything that must pass, in phases: installs what is needed, builds, checks,
# tests without the lab, then a lab of each profile with its demo and all
# end-to-end tests. A failed phase does not hide the others; those that depend on
# it are left out. Ends with the time of each phase, the number of its tests, how
# busy the processors were, and what ran beside it. Replaces a lab that runs.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
lab_dir=${ISTHMUS_LAB_DIR:-/run/isthmus-lab}
work=$(mktemp -d)
trap end EXIT
export ISTHMUS_BEFORE=$work/neutron-before ISTHMUS_TRACES=$work/traces-before
phases=$work/phases # one line for each phase that ended, in the columns of test/budget.awk
touch "$phases"

# end ends what runs beside, with all that it started, and removes the work files.
end() {
  if [[ -n ${other-} ]] && kill -- "-$other"; then wait "$other"; fi
  rm -rf "$work"
}

# processor prints the time that all processors were idle, and all time, in ticks.
processor() { awk '/^cpu / { print $5 + $6, $2 + $3 + $4 + $5 + $6 + $7 + $8; exit }' /proc/stat; }

# phase NAME COMMAND...: runs it and records how long it took and what its tests did.
# All that a test may need was installed before, so none may be skipped.
phase() {
  local name=$1 begin=$SECONDS status=0 idle all idle_then all_then passed failed skipped
  shift
  local -x TALLY
  TALLY=$(mktemp "$work/tally.XXXXXX")
  read -r idle all < <(processor)
  printf '\n=== %s\n' "$name"
  "$@" </dev/null || status=$?
  read -r idle_then all_then < <(processor)
  read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$TALLY")
  if ((skipped && !status)); then status=1; fi
  printf '%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n' "$begin" "$SECONDS" "$status" "$passed" "$failed" "$skipped" \
    $((100 - 100 * (idle_then - idle) / (all_then - all + 1))) "$name" >>"$phases"
  return "$status"
}

# beside FUNCTION: starts it at once with what follows; its output is kept until joined.
# It has its own process group (-m), so that it can be ended with its children.
beside() {
  set -m
  "$1" >"$work/beside" 2>&1 &
  other=$!
  set +m
}

# joined waits for what runs beside, prints its output and returns its result.
joined() {
  local status=0
  if [[ -z ${other-} ]]; then return 0; fi
  wait "$other" || status=$?
  other=
  cat "$work/beside"
  return "$status"
}

# tests GO-TEST-ARGS...: go test, counted; prints packages, slow tests and whole failures.
# -count 1: what touches the machine or a lab is never taken from the cache.
tests() { go test -json -count 1 "$@" | "$work/count"; }

# in_lab PROFILE WHAT COMMAND...: a phase of that lab.
in_lab() {
  local name="$1: $2"
  shift 2
  phase "$name" "$@"
}

# demo PROFILE: as a user runs it. What it shows must be readable in a file.
demo() {
  make demo PROFILE="$1" 2>&1 | tee "$work/demo" || return 1
  if grep -q $'\e' "$work/demo"; then
    echo 'the demo writes escape codes, though its output is no terminal' >&2
    return 1
  fi
  demo/clear.sh
}

end_to_end() { in_lab "$1" 'end-to-end tests' tests -tags e2e -timeout 40m ./test/e2e; }

# contract PROFILE: what the tests' Neutron promises, the real one keeps.
contract() { in_lab "$1" 'contract with Neutron' tests -tags cloud -run '^TestContractReal$' ./internal/neutron; }

# without_isthmus starts the lab and writes down Neutron's rows, and what is on the
# nodes and in the API server, before Isthmus is installed, to be compared after.
without_isthmus() {
  isthmus-lab up --profile shared-ovn --isthmus=false &&
    (eval "$(isthmus-lab env)" && exec "$work/snapshot" "$OVN_NB_DB") >"$ISTHMUS_BEFORE" &&
    (eval "$(isthmus-lab env)" && exec test/traces.sh) >"$ISTHMUS_TRACES"
}

shared_ovn() {
  local lab=shared-ovn
  in_lab $lab 'start, without Isthmus' without_isthmus || return 1
  in_lab $lab 'install Isthmus, demo' demo $lab || return 1
  joined
  end_to_end $lab || return 1
  local -x ISTHMUS_CLOUDS=$lab_dir/openstack/clouds.yaml
  contract $lab
}

neutron() {
  local lab=neutron
  in_lab $lab 'start with Isthmus, demo' demo $lab || return 1
  end_to_end $lab || return 1
  local -x ISTHMUS_CLOUDS=$lab_dir/openstack/clouds.yaml
  contract $lab || return 1
  in_lab $lab 'balancers of the real Octavia' tests -tags cloud -run '^TestContractReal$' ./internal/octavia
}

nested() {
  local lab=nested
  in_lab $lab 'start with Isthmus, demo' demo $lab || return 1
  end_to_end $lab
}

# lab PROFILE COMMAND: what a reader needs is printed while the lab still stands.
lab() {
  "$2" || test/logs.sh "$lab_dir"
  in_lab "$1" 'stop, and what it leaves' tests -tags e2e ./test/down
}

prepare() {
  phase 'packages' scripts/packages.sh &&
    phase 'build Kubernetes (cached by version)' scripts/kubernetes.sh &&
    phase 'build' make build coredns PROFILE=neutron
}

# without_lab is what needs no lab: it runs while the first one starts.
without_lab() {
  phase 'unit and script tests, race detector' tests -race ./api/... ./cmd/... ./internal/... ./test/neighbour ./test/tally
  phase 'vet and format' make vet
  phase 'generated files, go.mod' make unchanged
  phase 'lint' make lint
}

go build -o "$work/count" ./test/tally && go build -o "$work/snapshot" ./test/snapshot || exit 1
if prepare; then
  phase 'clear what a lab left over' isthmus-lab down || exit 1
  beside without_lab
  lab shared-ovn shared_ovn
  joined
  lab neutron neutron
  lab nested nested
fi
sort -s -n "$phases" | awk -f test/budget.awk -v all=$SECONDS
