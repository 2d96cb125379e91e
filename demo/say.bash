# shellcheck shell=bash
# What the demos say and how they wait; sourced by them.

# Headings are bold on a terminal, unless NO_COLOR is set and not empty (no-color.org).
bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
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
