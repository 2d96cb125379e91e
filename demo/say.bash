# shellcheck shell=bash
# What the demos say and how they wait; sourced by them.

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '# %s\n' "$*"; "$@"; }

# answers N COMMAND...: until it succeeds, N times at most, a second apart.
answers() {
  local n=$1
  shift
  until "$@" >/dev/null 2>&1; do
    ((n-- > 0)) || { echo "no answer: $*" >&2; return 1; }
    sleep 1
  done
}
