package guest

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed root
var root embed.FS

// busybox is the path of the program in Debian's package busybox-static.
const busybox = "/bin/busybox"

// ownModules are the kernel modules that every guest loads.
var ownModules = []string{"virtio_pci", "virtio_console", "virtio_net", "8021q"}

// initramfs returns the root file system of a guest as a cpio archive: busybox, init,
// agent, kernel modules and, last, the files of s.
func initramfs(ctx context.Context, k kernel, s Spec) ([]byte, error) {
	order, err := k.resolve(append(append([]string{}, ownModules...), s.Modules...))
	if err != nil {
		return nil, err
	}
	files, err := baseFiles(ctx)
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, m := range order {
		data, err := os.ReadFile(m)
		if err != nil {
			return nil, err
		}
		path := "lib/modules/" + filepath.Base(m)
		files = append(files, File{path, 0o644, data})
		fmt.Fprintln(&list, "/"+path)
	}
	files = append(files, File{"etc/modules", 0o644, []byte(list.String())})
	special, err := specialFiles(s)
	if err != nil {
		return nil, err
	}
	return cpio(slices.Concat(files, special, s.Files)), nil
}

// specialFiles returns the files that depend on s and replace files of baseFiles.
func specialFiles(s Spec) ([]File, error) {
	table, err := root.ReadFile("root/inittab")
	if err != nil {
		return nil, err
	}
	for _, command := range s.Services {
		table = fmt.Appendf(table, "::respawn:%s\n", command)
	}
	files := []File{{"etc/inittab", 0o644, table}}
	if s.Disk == nil {
		return files, nil
	}
	start, err := root.ReadFile("root/init")
	return append(files, File{"init", 0o755, start}), err
}

func baseFiles(ctx context.Context) ([]File, error) {
	var files []File
	for _, dir := range []string{"bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "run", "sys", "tmp", "www"} {
		files = append(files, File{Path: dir, Mode: fs.ModeDir | 0o755})
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("tools for guests (apt-get install busybox-static): %w", err)
	}
	list, err := output(ctx, busybox, "--list")
	if err != nil {
		return nil, err
	}
	// under the name init, busybox is an init
	files = append(files, File{"bin/busybox", 0o755, bin}, link("init", "/bin/busybox"), link("sbin", "/bin"))
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			files = append(files, link("bin/"+applet, "busybox"))
		}
	}
	for path, mode := range map[string]fs.FileMode{
		"bin/agent": 0o755, "etc/inittab": 0o644, "etc/rcS": 0o755, "etc/network": 0o755, "etc/udhcpc": 0o755,
	} {
		data, err := root.ReadFile("root/" + filepath.Base(path))
		if err != nil {
			return nil, err
		}
		files = append(files, File{path, mode, data})
	}
	return append(files, File{"etc/passwd", 0o644, []byte("root::0:0:root:/root:/bin/sh\n")}), nil
}

func link(path, to string) File { return File{path, fs.ModeSymlink | 0o777, []byte(to)} }

// writeChanged writes a file unless it has that content already.
func writeChanged(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
