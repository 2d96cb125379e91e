// Package e2e tests Isthmus as operators and users see it. It uses a running lab through
// kubectl, openstack, ovn-nbctl and the lab's own commands. Read lab_test.go first. Run
// "isthmus-lab up", then
//
//	go test -tags e2e ./test/e2e
//	go test -tags e2e ./test/e2e -run TestLab/walk -v
package e2e
