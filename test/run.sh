#!/usr/bin/env bash
# Runs everything that must pass, in phases. It installs packages, builds, checks and runs
# the tests without a lab. Then it starts a lab of each profile and runs its demo and all
# end-to-end tests. After a failed phase, it skips only the phases that depend on it. At the
# end it prints for each phase the time, the number of tests, the load of the processors, and
# the phases in parallel. It replaces a running lab.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
lab_dir=${ISTHMUS_LAB_DIR:-/run/isthmus-lab}
work=$(mktemp -d)
trap end EXIT
export ISTHMUS_BEFORE=$work/neutron-before ISTHMUS_TRACES=$work/traces-before
phases=$work/phases # one line per finished phase, with the columns of test/budget.awk
touch "$phases"

# end kills the function of beside with its children, and removes the work files.
end() {
  if [[ -n ${other-} ]] && kill -- "-$other"; then wait "$other"; fi
  rm -rf "$work"
}

# processor prints the idle time and the total time of all processors, in ticks.
processor() { awk '/^cpu / { print $5 + $6, $2 + $3 + $4 + $5 + $6 + $7 + $8; exit }' /proc/stat; }

# phase NAME COMMAND...: runs COMMAND and records its time and the results of its tests. It
# fails if a test is skipped, because everything that tests need is installed before.
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

# beside FUNCTION: starts FUNCTION in the background. joined prints its output. FUNCTION has
# its own process group (-m), so that end can kill it with its children.
beside() {
  set -m
  "$1" >"$work/beside" 2>&1 &
  other=$!
  set +m
}

# joined waits for the function of beside, prints its output and returns its status.
joined() {
  local status=0
  if [[ -z ${other-} ]]; then return 0; fi
  wait "$other" || status=$?
  other=
  cat "$work/beside"
  return "$status"
}

# tests GO-TEST-ARGS...: runs go test and prints packages, slow tests and whole failures. It
# uses -count 1, because cached results of tests on the machine or a lab are worthless.
tests() { go test -json -count 1 "$@" | "$work/count"; }

# in_lab PROFILE WHAT COMMAND...: runs COMMAND as a phase of the profile's lab.
in_lab() {
  local name="$1: $2"
  shift 2
  phase "$name" "$@"
}

# demo PROFILE: runs the demo as a user does. Its output must be readable in a file.
demo() {
  make demo PROFILE="$1" 2>&1 | tee "$work/demo" || return 1
  if grep -q $'\e' "$work/demo"; then
    echo 'the demo writes escape codes, though its output is no terminal' >&2
    return 1
  fi
  demo/clear.sh
}

end_to_end() { in_lab "$1" 'end-to-end tests' tests -tags e2e -timeout 40m ./test/e2e; }

# contract PROFILE: runs the tests of the fake Neutron against the real one.
contract() { in_lab "$1" 'contract with Neutron' tests -tags cloud -run '^TestContractReal$' ./internal/neutron; }

# without_isthmus starts the lab without Isthmus. It saves Neutron's rows, and the entries on
# the nodes and in the API server, for a comparison after the uninstallation.
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

# lab PROFILE COMMAND: runs COMMAND, prints the logs if it fails, and stops the lab.
lab() {
  "$2" || test/logs.sh "$lab_dir"
  in_lab "$1" 'stop, and what it leaves' tests -tags e2e ./test/down
}

prepare() {
  phase 'packages' scripts/packages.sh &&
    phase 'build Kubernetes (cached by version)' scripts/kubernetes.sh &&
    phase 'build' make build coredns PROFILE=neutron
}

# without_lab runs the phases that need no lab. It runs while the first lab starts.
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
