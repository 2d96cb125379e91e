package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncode(t *testing.T) {
	i := tools(toolsFiles([]byte("binary"), []string{"sh", "busybox", "[", "sh"}))
	first, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Error("the same image encodes to different bytes")
	}
	outer := untar(t, first)
	var man []manifest
	if err := json.Unmarshal(outer["manifest.json"].data, &man); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ToolsName}, man[0].RepoTags); diff != "" {
		t.Error(diff)
	}
	var conf config
	if err := json.Unmarshal(outer[man[0].Config].data, &conf); err != nil {
		t.Fatal(err)
	}
	layer := outer[man[0].Layers[0]].data
	if diff := cmp.Diff([]string{"sha256:" + digest(layer)}, conf.RootFS.DiffIDs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"sh"}, conf.Config.Cmd); diff != "" {
		t.Error(diff)
	}
	checkLayer(t, untar(t, layer))
}

func checkLayer(t *testing.T, files map[string]entry) {
	t.Helper()
	if got := files["bin/sh"].Linkname; got != "busybox" {
		t.Errorf("bin/sh points to %q", got)
	}
	if _, ok := files["bin/["]; !ok {
		t.Error("applet [ is missing")
	}
	if got := string(files["bin/busybox"].data); got != "binary" {
		t.Errorf("bin/busybox holds %q", got)
	}
	if got := files["tmp/"].Mode; got != 0o1777 {
		t.Errorf("tmp has mode %o", got)
	}
}

func TestWriteOnlyWhenChanged(t *testing.T) {
	dir := t.TempDir()
	i := Image{Name: "localhost/a:1", Tar: "a.tar", Files: []File{{Path: "f", Mode: 0o644, Data: []byte("1")}}}
	path, err := i.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := stat(t, path)
	if _, err := i.Write(dir); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, stat(t, path)) {
		t.Error("an unchanged image was written again")
	}
	i.Files[0].Data = []byte("2")
	if _, err := i.Write(dir); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, stat(t, path)) {
		t.Error("a changed image was not written")
	}
}

func TestBuildNamesWhatIsMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "isthmus-controller")
	_, err := Build(t.Context(), Binaries{Controller: missing}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v does not name %s", err, missing)
	}
}

type entry struct {
	tar.Header
	data []byte
}

func untar(t *testing.T, data []byte) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = entry{*h, content}
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	i, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
