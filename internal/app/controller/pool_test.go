package controller

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
)

// pool FILE ARGS... waits until the program "pool" prints the file's pools: node,
// Subnet, groups and ready ports.
func (w *world) pool(args []string) error {
	return w.compare(args[0], func() (string, error) {
		text, err := w.askPool(args[1:])
		if err != nil {
			return "", err
		}
		var pools []poolwire.Pool
		err = json.Unmarshal([]byte(text), &pools)
		var lines []string
		for _, p := range pools {
			words, _ := json.Marshal([]any{p.Node, p.Subnet, strings.Join(p.Groups, ","), p.Ready})
			lines = append(lines, strings.Trim(strings.ReplaceAll(strings.ReplaceAll(string(words), `"`, ""), ",", " "), "[]"))
		}
		return strings.Join(lines, "\n"), err
	})
}

// poolDo ARGS... runs the program "pool" until it succeeds.
func (w *world) poolDo(args []string) error {
	return eventually("done", func() (string, error) {
		_, err := w.askPool(args)
		return "done", err
	})
}

func (w *world) askPool(args []string) (string, error) {
	var out strings.Builder
	err := poolwire.Ask(context.Background(), w.file("pool"), args, &out)
	return out.String(), err
}

// A controller that does not lead has no pools.
func TestOnlyLeaderHasPools(t *testing.T) {
	t.Parallel()
	_, err := (&cluster{}).poolHandler()
	if err == nil || err.Error() != "this controller does not lead: the pools are the leader's" {
		t.Error(err)
	}
}
