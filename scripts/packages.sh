#!/usr/bin/env bash
# Installs the Debian packages that the lab and the tests need. If all are installed, it
# prints nothing and returns at once. "packages.sh --list" prints the list.
set -euo pipefail
packages=(
  # the network
  ovn-central ovn-host openvswitch-switch ethtool iproute2 iptables nftables conntrack tcpdump
  # Kubernetes
  etcd-server containerd runc containernetworking-plugins
  # virtual machines
  qemu-system-x86 busybox-static cpio e2fsprogs
  # OpenStack
  python3-keystone python3-neutron neutron-common python3-octavia python3-ovn-octavia-provider
  python3-openstackclient python3-octaviaclient python3-pymysql python3-memcache
  mariadb-server-core mariadb-client-core uwsgi-core uwsgi-plugin-python3
  # the race detector
  gcc libc6-dev
  # the tools around them
  ca-certificates curl graphviz jq make openssl procps util-linux
)
if [[ ${1:-} == --list ]]; then printf '%s\n' "${packages[@]}"; exit; fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) <(echo "$installed"))
if ((${#missing[@]} == 0)); then exit 0; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
run() { if ! "$@" >"$log" 2>&1; then tail -n 30 "$log" >&2; echo "packages.sh: failed: $*" >&2; exit 1; fi; }
root=()
if [[ $(id -u) != 0 ]]; then root=(sudo --preserve-env=DEBIAN_FRONTEND); fi
run "${root[@]}" apt-get update -q
run "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
