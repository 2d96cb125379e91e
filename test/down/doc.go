// Package down tests that "isthmus-lab down" leaves nothing on the machine. It stops the
// running lab, so it must run after all other tests.
package down
