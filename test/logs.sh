#!/usr/bin/env bash
# Prints the ends of all logs of a lab, so that this output alone suffices to find a fault.
#   test/logs.sh [LAB_DIR]
set -uo pipefail
lab_dir=${1:-/run/isthmus-lab}
kube=(kubectl --kubeconfig "$lab_dir/kube/admin.kubeconfig" --request-timeout 5s)

printf '\n### pods and events\n'
"${kube[@]}" get pods -A -o wide
"${kube[@]}" get events -A --sort-by .metadata.creationTimestamp | tail -n 25
"${kube[@]}" get vpcs,subnets -o wide
"${kube[@]}" get klb -A -o wide 2>/dev/null # exist in profile neutron
"${kube[@]}" get ips -o wide | tail -n 40
"${kube[@]}" -n kube-system get pods -o name | while read -r pod; do
  printf '\n### %s\n' "$pod"
  "${kube[@]}" -n kube-system logs "$pod" --all-containers --tail 40
done
find "$lab_dir" -name '*.log' -size +0 | sort | while read -r log; do
  printf '\n### %s\n' "$log"
  tail -n 12 "$log" | cut -c 1-400
done
