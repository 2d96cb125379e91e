# shellcheck shell=bash
# Functions with which the demos print and wait. The demos source this file.

# Headings are bold on a terminal, unless NO_COLOR is set and not empty (no-color.org).
bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '# %s\n' "$*"; "$@"; }

# answers N COMMAND...: repeats COMMAND every second until it succeeds, at most N times.
answers() {
  local n=$1
  shift
  until "$@" >/dev/null 2>&1; do
    ((n-- > 0)) || { echo "no answer: $*" >&2; return 1; }
    sleep 1
  done
}
