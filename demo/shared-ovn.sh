#!/usr/bin/env bash
# Shows the main purpose: a pod in namespace net2 pings the OpenStack virtual machine
# provider-instance through Neutron's own router. Needs a built bin/. A second run keeps the
# objects of the first and shows the same.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
. demo/say.bash

step 'The cloud: two nodes, Kubernetes, Keystone, Neutron, one OVN, one virtual machine'
# shellcheck disable=SC2086 # flags are words
isthmus-lab up --profile shared-ovn ${LAB_UP_FLAGS-}
eval "$(isthmus-lab env)"

step 'What OpenStack has'
show openstack router list -c ID -c Name -c Status
show openstack port list --network provider -c Name -c 'Fixed IP Addresses' -c Status
router=neutron-$(openstack router show router0 -f value -c id)
vm=$(openstack port show provider-instance -f json -c fixed_ips | jq -r '.fixed_ips[0].ip_address')

step "A subnet of Kubernetes on Neutron's router, and a pod in it"
kubectl wait --for jsonpath='{.status.standby}'=true "vpc/$router" --timeout 60s >/dev/null
sed "s/ROUTER/$router/" demo/net2.yaml | show kubectl apply --server-side --force-conflicts -f -
show kubectl wait --for condition=Ready subnet/net2 --timeout 60s
show kubectl -n net2 wait --for condition=Ready pod/ubuntu --timeout 120s
show kubectl -n net2 get pods -o wide

# After a repair of the lab, the kubelet may not yet have updated the pod's status.
timeout 60 bash -c 'until kubectl -n net2 exec ubuntu -- true; do sleep 1; done' 2>/dev/null

step "Kubernetes' view, and the pod pings the virtual machine"
show kubectl get vpc
show kubectl -n net2 exec ubuntu -- ping "$vm" -c2
