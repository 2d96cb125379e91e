// Package e2e knows what an operator and a user of Isthmus see: it works on a
// lab that runs, through kubectl, openstack, ovn-nbctl and the lab's own
// commands, as they would. "isthmus-lab up" first; then
//
//	go test -tags e2e ./test/e2e
//	go test -tags e2e ./test/e2e -run TestLab/walk -v
package e2e
