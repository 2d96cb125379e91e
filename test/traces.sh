#!/usr/bin/env bash
# Prints what an installation may leave behind on each node of the lab and in the API server,
# one entry per line, sorted. The output from before an installation is compared with that
# from after the uninstallation. Needs the environment of "isthmus-lab env".
#
# It leaves out what changes without Isthmus: tap interfaces and patch ports of guests, rules
# of kube-proxy, pods and events.
set -euo pipefail

on_node() {
  cat <<'END'
for f in /etc/cni/net.d/* /etc/cni/net.d/.[!.]* /opt/cni/bin/* /opt/cni/bin/.[!.]* /run/isthmus/*; do
  [ -e "$f" ] && echo "file $f"
done
ip -o link | awk -F': ' '{ sub(/@.*/, "", $2); print "link " $2 }' | grep -vE '^link (tap|vnet)' || true
ip -4 route show table all | grep -vE ' dev (tap|vnet)' | sed 's/^/route /' || true
ip -6 route show table all | grep -vE 'fe80|ff00| dev (tap|vnet)' | sed 's/^/route6 /' || true
ip rule | sed 's/^/rule /'
nft list tables | sed 's/^/nft /'
ovs-vsctl --if-exists --bare --columns=name find interface external_ids:isthmus-owner!='""' | grep . | sed 's/^/owned port /' || true
ovs-vsctl list-ports br-int 2>/dev/null | grep -vE '^(tap|patch-|ovn-)' | sed 's/^/port /' || true
END
}

in_api() {
  local kind
  for kind in $(kubectl api-resources --verbs=list -o name | grep -vE '^(pods|events|endpoints|endpointslices|controllerrevisions|replicasets)(\.|$)'); do
    kubectl get "$kind" -A --ignore-not-found --no-headers -o 'custom-columns=:metadata.namespace,:metadata.name' | awk -v kind="$kind" '{ print kind, $1, $2 }'
  done
  kubectl get nodes -o go-template='{{range .items}}{{$n := .metadata.name}}{{range $k, $v := .metadata.annotations}}annotation {{$n}} {{$k}}{{"\n"}}{{end}}{{range $k, $v := .metadata.labels}}label {{$n}} {{$k}}{{"\n"}}{{end}}{{end}}'
}

{
  for node in $(kubectl get nodes -o 'jsonpath={.items[*].metadata.name}'); do
    isthmus-lab exec "$node" -- sh -c "$(on_node)" | sed "s/^/$node: /"
  done
  in_api | sed 's/^/api: /'
} | sort -u
