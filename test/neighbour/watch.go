package neighbour

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// Watch starts to watch NB_Global. stop ends the watch and returns one line for each change
// of nb_cfg that Neutron did not make. Neutron increases nb_cfg and writes the time of its
// liveness check in one transaction. A program that waits for OVN, such as ovn-nbctl --wait,
// increases nb_cfg alone.
func Watch(ctx context.Context, address string) (stop func() ([]string, error), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var printed, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "ovsdb-client", "--format=json", "monitor", address, "OVN_Northbound", "NB_Global", "nb_cfg,external_ids")
	cmd.Stdout, cmd.Stderr = &printed, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // SIGKILL would lose buffered output
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return sync.OnceValues(func() ([]string, error) {
		cancel()
		_ = cmd.Wait() // the status is that of SIGTERM
		changes, seen, err := nbCfgChanges(&printed)
		if err == nil && !seen {
			err = fmt.Errorf("ovsdb-client monitor %s showed no row of NB_Global: %s", address, stderr.String())
		}
		return changes, err
	}), nil
}

// update is one line of "ovsdb-client --format=json monitor": the old and the new row of one
// transaction.
type update struct {
	Headings []string
	Data     [][]any
}

// nbCfgChanges reads updates of NB_Global and returns those that changed nb_cfg alone. seen is true
// if there was a row.
func nbCfgChanges(in io.Reader) (changes []string, seen bool, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var last map[string]any
	for lines.Scan() {
		var u update
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			return nil, seen, fmt.Errorf("monitor: %w: %s", err, lines.Text())
		}
		for _, cells := range u.Data {
			row := map[string]any{}
			for i, heading := range u.Headings {
				row[heading] = cells[i]
			}
			if row["action"] == "old" {
				continue // the old row has only the columns that changed
			}
			seen = true
			if last != nil && fmt.Sprint(row["nb_cfg"]) != fmt.Sprint(last["nb_cfg"]) && livenessCheckedAt(row) == livenessCheckedAt(last) {
				changes = append(changes, fmt.Sprintf("nb_cfg went from %v to %v without a liveness check of Neutron", last["nb_cfg"], row["nb_cfg"]))
			}
			last = row
		}
	}
	return changes, seen, lines.Err()
}

// livenessCheckedAt returns the time of Neutron's last liveness check, as text.
func livenessCheckedAt(row map[string]any) string {
	return Row{Columns: row}.external(livenessCheck)
}
