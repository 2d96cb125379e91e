package nodelock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLocks(t *testing.T) {
	file := File(filepath.Join(t.TempDir(), "run", "agent.sock"))
	var unlocks []func()
	for range 2 { // two agents, as when one replaces the other
		unlock, err := Share(file)
		if err != nil {
			t.Fatal(err)
		}
		unlocks = append(unlocks, unlock)
	}
	for _, unlock := range unlocks {
		if _, err := Exclude(file); err == nil {
			t.Fatal("a cleanup got the lock while an agent had it")
		}
		unlock()
	}
	unlock, err := Exclude(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Share(file); err == nil {
		t.Error("an agent got the lock while a cleanup had it")
	}
	unlock()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
}
