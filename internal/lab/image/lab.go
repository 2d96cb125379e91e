package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Names of the lab's images.
const (
	IsthmusName = "localhost/isthmus:dev"
	ToolsName   = "localhost/isthmus-tools:1"
	PauseName   = "localhost/pause:1"
	DemoName    = "localhost/isthmus-demo:1"
	CoreDNSName = "localhost/coredns:" + CoreDNSVersion
)

// CoreDNSVersion is the version that tools/coredns builds.
const CoreDNSVersion = "v1.15.0"

// Busybox is the path of the program in Debian's package busybox-static.
const Busybox = "/bin/busybox"

// Binaries are the paths of Isthmus' programs. They must be linked statically.
type Binaries struct{ Controller, Agent, CNI string }

// Built are the paths of the tars that Build wrote.
type Built struct{ Isthmus, Tools, Pause string }

// Build writes the images Isthmus, tools and pause into dir.
func Build(ctx context.Context, b Binaries, dir string) (Built, error) {
	isthmus, err := Isthmus(b)
	if err != nil {
		return Built{}, err
	}
	rootfs, err := toolsRoot(ctx)
	if err != nil {
		return Built{}, err
	}
	var out Built
	for _, w := range []struct {
		image Image
		path  *string
	}{{isthmus, &out.Isthmus}, {tools(rootfs), &out.Tools}, {pause(rootfs), &out.Pause}} {
		if *w.path, err = w.image.Write(dir); err != nil {
			return Built{}, err
		}
	}
	return out, nil
}

// BuildTools writes the images tools and pause, which do not need Isthmus' programs. In
// the result, Isthmus is empty.
func BuildTools(ctx context.Context, dir string) (Built, error) {
	rootfs, err := toolsRoot(ctx)
	if err != nil {
		return Built{}, err
	}
	t, err := tools(rootfs).Write(dir)
	if err != nil {
		return Built{}, err
	}
	p, err := pause(rootfs).Write(dir)
	return Built{Tools: t, Pause: p}, err
}

// CoreDNS writes the image of a CoreDNS program into dir and returns the file's path.
func CoreDNS(program, dir string) (string, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", CoreDNSName, err)
	}
	i := Image{Name: CoreDNSName, Tar: "coredns.tar", Entrypoint: []string{"/coredns"}, Files: []File{
		{Path: "coredns", Mode: 0o755, Data: data}, {Path: "tmp/", Mode: 0o1777},
	}}
	return i.Write(dir)
}

// Isthmus returns the image with Isthmus' three programs and nothing else. It errs if a
// program is missing.
func Isthmus(b Binaries) (Image, error) {
	i := Image{Name: IsthmusName, Tar: "isthmus.tar", Cmd: []string{"/isthmus-controller"}}
	for _, p := range []struct{ in, path string }{
		{"isthmus-controller", b.Controller}, {"isthmus-agent", b.Agent}, {"isthmus-cni", b.CNI},
	} {
		data, err := os.ReadFile(p.path)
		if err != nil {
			return Image{}, fmt.Errorf("image %s: %w", i.Name, err)
		}
		i.Files = append(i.Files, File{Path: p.in, Mode: 0o755, Data: data})
	}
	// tmp can be the mount point of an emptyDir or a hostPath, and has temporary files
	i.Files = append(i.Files, File{Path: "tmp/", Mode: 0o1777})
	return i, nil
}

func tools(rootfs []File) Image {
	return Image{Name: ToolsName, Tar: "isthmus-tools.tar", Files: rootfs, Cmd: []string{"sh"}}
}

// demo returns the image that runs the program hello. hello is also its curl: the static
// busybox cannot look up names, and its lookup tool crashes.
func demo(rootfs []File, hello []byte) Image {
	files := []File{{Path: "bin/hello", Mode: 0o755, Data: hello}, {Path: "bin/curl", Link: "hello"}, {Path: "bin/udp", Link: "hello"}}
	files = append(slices.Clone(rootfs), files...)
	return Image{Name: DemoName, Tar: "isthmus-demo.tar", Files: files, Cmd: []string{"/bin/hello"}}
}

// Demo writes the image of the walkthroughs' pods into dir and returns the file's path.
// program is a build of internal/lab/hello.
func Demo(ctx context.Context, program, dir string) (string, error) {
	hello, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", DemoName, err)
	}
	rootfs, err := toolsRoot(ctx)
	if err != nil {
		return "", err
	}
	return demo(rootfs, hello).Write(dir)
}

// pause returns the image that holds a pod's namespaces. Process 1 has no default signal
// actions, so without the trap every stop would take the whole grace period.
func pause(rootfs []File) Image {
	const hold = `trap 'exit 0' TERM INT; while :; do sleep 2147483 & wait $!; done`
	return Image{Name: PauseName, Tar: "pause.tar", Files: rootfs, Entrypoint: []string{"/bin/sh", "-c", hold}}
}

func toolsRoot(ctx context.Context) ([]File, error) {
	bin, err := os.ReadFile(Busybox)
	if err != nil {
		return nil, fmt.Errorf("tools for images (apt-get install busybox-static): %w", err)
	}
	list, err := exec.CommandContext(ctx, Busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("applets of %s: %w", Busybox, err)
	}
	return toolsFiles(bin, strings.Fields(string(list))), nil
}

func toolsFiles(busybox []byte, applets []string) []File {
	files := []File{
		{Path: "bin/", Mode: 0o755},
		{Path: "bin/busybox", Mode: 0o755, Data: busybox},
		{Path: "etc/", Mode: 0o755},
		{Path: "etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Path: "etc/nsswitch.conf", Mode: 0o644, Data: []byte("hosts: files dns\n")},
		{Path: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")},
		{Path: "root/", Mode: 0o700},
		{Path: "tmp/", Mode: 0o1777},
		{Path: "www/", Mode: 0o755},
		{Path: "www/index.html", Mode: 0o644, Data: []byte("isthmus-tools\n")},
	}
	slices.Sort(applets)
	for _, a := range slices.Compact(applets) {
		if a != "busybox" {
			files = append(files, File{Path: "bin/" + a, Link: "busybox"})
		}
	}
	return files
}
