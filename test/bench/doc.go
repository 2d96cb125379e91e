// Package bench measures a lab of profile neutron that runs: what a pod, a
// Service and a NetworkPolicy cost there in time and in calls to OpenStack. It
// changes the pool's limits meanwhile, and knows nothing of how the lab is
// made. "make bench PROFILE=neutron" runs it; it needs build tag bench.
package bench
