package guest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

func diskOf(dir string) string { return filepath.Join(dir, "disk") }

// ensureDisk returns the path of the guest's disk. If there is none, it copies the image
// that make returns. It returns "" if make is nil.
func ensureDisk(ctx context.Context, dir string, make func(context.Context) (string, error)) (string, error) {
	if make == nil {
		return "", nil
	}
	disk := diskOf(dir)
	if _, err := os.Stat(disk); !errors.Is(err, fs.ErrNotExist) {
		return disk, err
	}
	image, err := make(ctx)
	if err != nil {
		return "", err
	}
	// a killed run must not leave an incomplete disk
	if _, err := output(ctx, "cp", "--sparse=always", "--reflink=auto", image, disk+".new"); err != nil {
		return "", err
	}
	return disk, os.Rename(disk+".new", disk)
}
