#!/usr/bin/env bash
# Removes the objects of the demos from the running lab. The lab stays.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
eval "$(isthmus-lab env)"
gone=(delete --ignore-not-found --timeout 120s)
kubectl "${gone[@]}" deployment/demo service/demo service/demo-outside
kubectl "${gone[@]}" --namespace net2 --grace-period 1 pod/ubuntu # its only process ignores SIGTERM
kubectl "${gone[@]}" namespace/net2 namespace/private
kubectl "${gone[@]}" subnet/net2 subnet/private
kubectl wait --for delete pod -l app=demo --timeout 120s
for vpc in $(kubectl get vpcs -o json | jq -r '.items[] | select(.spec.namespaces == ["net2"]) | .metadata.name'); do
  kubectl patch "vpc/$vpc" --type merge --patch '{"spec": {"namespaces": null}}'
done
