#!/usr/bin/env bash
# Shows Kubernetes in virtual machines of OpenStack: the machines' trunk ports, pods as VLANs
# on them that reach each other across machines and a machine that is not a node, and a
# node's floating IP. Needs a built bin/. A second run keeps the objects of the first and
# shows the same. With LAB_UP_FLAGS="--fabric ovn", the pods' network is in OVN beside
# Neutron instead of in Neutron.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
. demo/say.bash

step 'The cloud: two hosts with OpenStack and OVN; in it, two virtual machines that are nodes of Kubernetes'
# shellcheck disable=SC2086 # flags are words
isthmus-lab up --profile nested ${LAB_UP_FLAGS-}
eval "$(isthmus-lab env)"
show isthmus-lab vm list
show kubectl get nodes -o wide
show openstack network trunk list
floating=$(kubectl get node worker1 -o jsonpath='{.status.addresses[?(@.type=="ExternalIP")].address}')
show isthmus-lab exec outside -- curl -sS --max-time 5 "http://$floating"

step 'Four pods on both, and what they say to each other'
kubectl get deployment demo >/dev/null 2>&1 ||
  show kubectl create deployment demo --image localhost/isthmus-demo:1
show kubectl scale deployment/demo --replicas 4
show kubectl rollout status deployment/demo --timeout 300s
show kubectl get pods -l app=demo -o wide
on() { kubectl get pods -l app=demo --field-selector "spec.nodeName=$1" -o jsonpath="{.items[0].$2}"; }
show kubectl exec "$(on worker1 metadata.name)" -- curl "$(on worker2 status.podIP):8080"
show kubectl exec "$(on worker1 metadata.name)" -- ping -c 2 "$(on worker2 status.podIP)"

if kubectl get subnet pods >/dev/null 2>&1; then # the pods' network is Neutron's
  step 'A Service: a load balancer of Octavia at its cluster IP'
  kubectl get service demo >/dev/null 2>&1 ||
    show kubectl expose deployment demo --port 80 --target-port 8080
  vip=$(kubectl get service demo -o jsonpath='{.spec.clusterIP}')
  answers 60 kubectl exec "$(on worker1 metadata.name)" -- curl "$vip"
  for _ in 1 2 3 4; do show kubectl exec "$(on worker1 metadata.name)" -- curl "$vip"; done

  step 'A pod and a virtual machine that is no node'
  vm=$(OS_CLOUD=admin openstack port show vm1 -f json -c fixed_ips | jq -r '.fixed_ips[0].ip_address')
  show kubectl exec "$(on worker2 metadata.name)" -- ping -c 2 "$vm"
  show isthmus-lab exec vm1 -- ping -c 2 "$(on worker1 status.podIP)"
fi

step 'What they hang on: VLANs in the machine, behind its one port in OVN'
show kubectl get ips.kubeovn.io -o custom-columns='POD:.metadata.name,ADDRESS:.spec.v4IpAddress,PARENT:.spec.attach.vlan.parent,TAG:.spec.attach.vlan.tag'
show ovn-nbctl --columns=name,parent_name,tag,up find Logical_Switch_Port 'tag!=[]'
