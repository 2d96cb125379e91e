package guest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestADiskBeginsAsACopyAndStaysTheGuests(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	write(t, image, "as made")
	dir := t.TempDir()
	calls := 0
	for _, want := range []string{"as made", "as used"} {
		disk, err := ensureDisk(t.Context(), dir, func(context.Context) (string, error) { calls++; return image, nil })
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(disk); err != nil || string(text) != want {
			t.Errorf("the disk has %q, %v", text, err)
		}
		write(t, disk, "as used")
	}
	if calls != 1 {
		t.Errorf("the image was asked for %d times", calls)
	}
	if text, err := os.ReadFile(image); err != nil || string(text) != "as made" {
		t.Errorf("the image has %q, %v", text, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestServicesAreKeptRunning(t *testing.T) {
	files, err := specialFiles(Spec{Services: []string{"/etc/node/kubelet"}})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == "etc/inittab" })
	if table := string(files[i].Data); !strings.HasSuffix(table, "\n::respawn:/etc/node/kubelet\n") || !strings.Contains(table, "/bin/agent") {
		t.Errorf("inittab is\n%s", table)
	}
	if slices.ContainsFunc(files, func(f File) bool { return f.Path == "init" }) {
		t.Error("a guest without a disk looks for one")
	}
}
