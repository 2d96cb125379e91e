#!/usr/bin/env bash
# Builds Kubernetes' own programs from the Go module proxy, once per version, and
# prints their directory.
#   ISTHMUS_KUBE_BIN=DIR   use the programs in DIR and build nothing
# If PATH has all programs in this version, the script links them and builds nothing.
set -euo pipefail
cd "$(dirname "$0")/../tools/kubernetes"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
programs=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)
dir=${ISTHMUS_KUBE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/isthmus/kubernetes-$version}

missing() { # programs that dir lacks
  local p
  for p in "${programs[@]}"; do [[ -x $dir/$p ]] || echo "$p"; done
}

if [[ -z $(missing) ]]; then echo "$dir"; exit 0; fi
if [[ -n ${ISTHMUS_KUBE_BIN:-} ]]; then
  echo "ISTHMUS_KUBE_BIN=$dir lacks: $(missing | xargs)" >&2
  exit 1
fi
mkdir -p "$dir"
for p in $(missing); do
  if have=$(command -v "$p") && [[ $("$have" --version 2>/dev/null || "$have" version --client 2>/dev/null) == *"$version"* ]]; then
    ln -sf "$have" "$dir/$p"
  fi
done
mapfile -t todo < <(missing)
if ((${#todo[@]})); then
  echo "building ${todo[*]} $version (minutes if the Go build cache is cold)" >&2
  IFS=. read -r major minor _ <<<"${version#v}"
  set=k8s.io/component-base/version
  new=$(mktemp -d "$dir/.build.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  nice go build -o "$new/" -ldflags "-s -w -X $set.gitVersion=$version -X $set.gitMajor=$major -X $set.gitMinor=$minor" \
    "${todo[@]/#/k8s.io/kubernetes/cmd/}" >&2
  mv "$new"/* "$dir/"
fi
echo "$dir"
