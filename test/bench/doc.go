// Package bench measures a lab that runs. Of profile neutron: what a pod, a Service
// and a NetworkPolicy cost in time and in calls to OpenStack; it changes the pool's
// limits meanwhile. Of profile nested: what a pod costs in a virtual machine, and
// what passes between two of them, on the trunk and in an overlay that it makes
// itself. It knows nothing of how the lab is made. "make bench PROFILE=neutron"
// and "make bench PROFILE=nested" run it; it needs build tag bench.
package bench
