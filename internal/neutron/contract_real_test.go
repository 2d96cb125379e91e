//go:build cloud

package neutron

import (
	"fmt"
	"os"
	"testing"
)

// A real Neutron keeps the contract. The test uses cloud "admin" in the clouds.yaml that
// ISTHMUS_CLOUDS names, which is the lab's:
//
//	go test -tags cloud -run TestContractReal ./internal/neutron
func TestContractReal(t *testing.T) {
	t.Parallel()
	file := os.Getenv("ISTHMUS_CLOUDS")
	if file == "" {
		t.Fatal("ISTHMUS_CLOUDS names no clouds.yaml of a cloud with Neutron")
	}
	contract(t, Options{Owner: fmt.Sprintf("contract-%d", os.Getpid()), Cloud: "admin", CloudsFile: file})
}
