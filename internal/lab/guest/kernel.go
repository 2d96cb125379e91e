package guest

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernel is an unpacked Debian kernel package.
type kernel struct{ image, modules string }

var kernelPackage = regexp.MustCompile(`linux-image-[0-9][^ \n]*-cloud-amd64`)

// fetchKernel returns the guests' kernel below cacheDir. If there is none, it downloads
// the distribution's current cloud kernel with apt.
func fetchKernel(ctx context.Context, cacheDir string) (kernel, error) {
	if k, err := findKernel(cacheDir); err == nil {
		return k, nil
	}
	out, err := output(ctx, "apt-cache", "depends", "linux-image-cloud-amd64")
	if err != nil {
		return kernel{}, err
	}
	name := kernelPackage.FindString(string(out))
	if name == "" {
		return kernel{}, errors.New("apt knows no linux-image-cloud-amd64: run apt-get update")
	}
	if err := unpackKernel(ctx, cacheDir, name); err != nil {
		return kernel{}, fmt.Errorf("guests' kernel: %w", err)
	}
	return findKernel(cacheDir)
}

// findKernel returns the newest kernel in cacheDir. Every directory there is complete,
// because unpackKernel renames it into place last. It errs with fs.ErrNotExist if there is
// none.
func findKernel(cacheDir string) (kernel, error) {
	dirs, err := filepath.Glob(filepath.Join(cacheDir, "linux-image-*-cloud-amd64"))
	if err != nil || len(dirs) == 0 {
		return kernel{}, fmt.Errorf("no kernel in %s: %w", cacheDir, fs.ErrNotExist)
	}
	slices.Sort(dirs)
	dir := dirs[len(dirs)-1]
	version := strings.TrimPrefix(filepath.Base(dir), "linux-image-")
	k := kernel{filepath.Join(dir, "boot", "vmlinuz-"+version), filepath.Join(dir, "lib", "modules", version)}
	_, err = os.Stat(k.image)
	return k, err
}

func unpackKernel(ctx context.Context, cacheDir, name string) error {
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cacheDir, ".kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// apt downloads as a user of its own and warns if that user cannot write here
	if err := os.Chmod(tmp, 0o777); err != nil {
		return err
	}
	get := exec.CommandContext(ctx, "apt-get", "-q", "download", name)
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", name, len(debs))
	}
	if _, err := output(ctx, "dpkg", "-x", debs[0], filepath.Join(tmp, name)); err != nil {
		return err
	}
	err = os.Rename(filepath.Join(tmp, name), filepath.Join(cacheDir, name))
	if errors.Is(err, fs.ErrExist) {
		return nil // another process has unpacked it meanwhile
	}
	return err
}

// resolve returns the files of the named modules and of their dependencies, in the order in
// which they can be loaded. It errs if the kernel lacks a module.
func (k kernel) resolve(names []string) ([]string, error) {
	files, err := k.index()
	if err != nil {
		return nil, err
	}
	r := resolver{files: files, seen: map[string]bool{}}
	for _, n := range names {
		if err := r.add(n); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

// index returns the kernel's module files by module name.
func (k kernel) index() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko") {
			files[moduleName(strings.TrimSuffix(d.Name(), ".ko"))] = path
		}
		return err
	})
	return files, err
}

// moduleName returns a module's name with underscores, as the kernel writes it. File names
// may have dashes.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

type resolver struct {
	files map[string]string
	seen  map[string]bool
	order []string
}

func (r *resolver) add(name string) error {
	name = moduleName(name)
	if r.seen[name] {
		return nil
	}
	r.seen[name] = true
	file, ok := r.files[name]
	if !ok {
		return fmt.Errorf("the guests' kernel has no module %s", name)
	}
	needs, err := depends(file)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, n := range needs {
		if err := r.add(n); err != nil {
			return err
		}
	}
	r.order = append(r.order, file)
	return nil
}

// depends returns a module's direct dependencies, which modinfo calls "depends".
func depends(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(data, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}

func output(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
