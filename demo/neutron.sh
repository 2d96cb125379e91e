#!/usr/bin/env bash
# Shows pods as Neutron ports and Services as Octavia load balancers: the resources in
# OpenStack, pods that reach each other, a Service from inside and outside, and a pod on the
# network of a virtual machine. Needs a built bin/. A second run keeps the objects of the
# first and shows the same.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
. demo/say.bash

step 'The cloud: two nodes, Kubernetes, Keystone, Neutron, Octavia, one OVN, one virtual machine'
# shellcheck disable=SC2086 # flags are words
isthmus-lab up --profile neutron ${LAB_UP_FLAGS-}
eval "$(isthmus-lab env)"
export OS_CLOUD=k8s
router=$(openstack router show router1 -f value -c id)
project=$(openstack router show router1 -f value -c project_id)

step 'Two pods, and what they say to each other'
kubectl get deployment demo >/dev/null 2>&1 ||
  show kubectl create deployment demo --image localhost/isthmus-demo:1
show kubectl scale deployment/demo --replicas 2
show kubectl rollout status deployment/demo --timeout 120s
show kubectl get pods -l app=demo -o wide
read -r one two _ < <(kubectl get pods -l app=demo -o jsonpath='{.items[*].metadata.name}{"\n"}')
peer=$(kubectl get pod "$two" -o jsonpath='{.status.podIP}')
show kubectl exec "$one" -- curl "$peer:8080"
show kubectl exec "$one" -- ping -c 2 "$peer"

step 'A Service: a load balancer of Octavia at its cluster IP'
kubectl get service demo >/dev/null 2>&1 ||
  show kubectl expose deployment demo --port 80 --target-port 8080
show kubectl get service demo
vip=$(kubectl get service demo -o jsonpath='{.spec.clusterIP}')
answers 30 kubectl exec "$one" -- curl "$vip"
for _ in 1 2 3 4 5 6; do show kubectl exec "$one" -- curl "$vip"; done
show kubectl exec "$one" -- curl demo.default.svc.cluster.local

step 'A Service of type LoadBalancer: a floating IP, and a client outside'
kubectl get service demo-outside >/dev/null 2>&1 ||
  show kubectl expose deployment demo --name demo-outside --type LoadBalancer --port 80 --target-port 8080
show kubectl wait --for jsonpath='{.status.loadBalancer.ingress[0].ip}' service/demo-outside --timeout 60s
floating=$(kubectl get service demo-outside -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
answers 30 isthmus-lab exec outside -- curl -fsS --max-time 2 "http://$floating"
show isthmus-lab exec outside -- curl -sS --max-time 5 "http://$floating"

step 'What OpenStack has of it'
show openstack network list --project "$project"
show openstack subnet list --project "$project" -c Name -c Network -c Subnet
show openstack security group list --project "$project" -c ID -c Name
show openstack loadbalancer list --project "$project" -c name -c vip_address -c provisioning_status -c provider
show openstack port list --device-owner compute:kuryr -c Name -c 'Fixed IP Addresses' -c Status

step 'A pod and a virtual machine on one network of Neutron'
network=$(openstack network show private -f value -c id)
sed "s/ROUTER/neutron-$router/; s/NETWORK/$network/" demo/private.yaml |
  show kubectl apply --server-side --force-conflicts -f -
show kubectl wait --for condition=Ready subnet/private --timeout 60s
show kubectl -n private wait --for condition=Ready pod/neighbour --timeout 120s
pod=$(kubectl -n private get pod neighbour -o jsonpath='{.status.podIP}')
vm=$(OS_CLOUD=admin openstack port show vm1 -f json -c fixed_ips | jq -r '.fixed_ips[0].ip_address')
show kubectl -n private exec neighbour -- ping -c 2 "$vm"
show isthmus-lab exec vm1 -- ping -c 2 "$pod"
