package controller

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
)

// pool FILE ARGS...: the program "pool" says this of each pool: its node,
// Subnet, groups, ready ports.
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

// poolDo ARGS...: the program "pool" does it, as soon as the controller can.
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

// Only the leader has pools.
func TestPoolsAreTheLeaders(t *testing.T) {
	t.Parallel()
	_, err := (&cluster{}).poolHandler()
	if err == nil || err.Error() != "this controller does not lead: the pools are the leader's" {
		t.Error(err)
	}
}
