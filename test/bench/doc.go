// Package bench measures a running lab. In profile neutron, it measures the time and the calls
// to OpenStack of a pod, a Service and a NetworkPolicy; meanwhile it changes the limits of the
// port pools. In profile nested, it measures the same of pods in a virtual machine, and the
// traffic between two of them, on the trunk and in an overlay that it creates itself. "make bench
// PROFILE=neutron" and "make bench PROFILE=nested" run it. It needs build tag bench.
package bench
