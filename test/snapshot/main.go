// Command snapshot prints the rows of OVN's northbound database that Isthmus does not own.
// The text can be compared with that of a later run: snapshot tcp:172.31.0.1:6641
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/isthmus-cni/isthmus/test/neighbour"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: snapshot DATABASE")
		os.Exit(2)
	}
	rows, err := neighbour.Read(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(1)
	}
	for _, line := range neighbour.Foreign(rows) {
		fmt.Println(line)
	}
}
