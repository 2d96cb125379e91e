// Package image writes container images without Docker: one layer, a configuration and
// a manifest in one tar, as "ctr images import" reads it. It knows the content of the
// lab's images and does not know registries. The same input gives the same bytes.
package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Image is one image: its name, its files and its command.
type Image struct {
	// Name is the full reference, "localhost/pause:1".
	Name string
	// Tar is the name of the file that Write creates.
	Tar   string
	Files []File
	// Entrypoint and Cmd are as in a Dockerfile.
	Entrypoint, Cmd []string
}

// File is one entry of the layer. With a Path that ends in "/" it is a directory, with a
// Link a symbolic link, and otherwise a file with content Data.
type File struct {
	Path string
	Mode fs.FileMode
	Link string
	Data []byte
}

type config struct {
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	Config       configRun    `json:"config"`
	RootFS       configRootFS `json:"rootfs"`
}

type configRun struct {
	Env        []string `json:"Env"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
}

type configRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Encode returns the image as a tar in the format of "docker save".
func (i Image) Encode() ([]byte, error) {
	layer, err := pack(i.Files)
	if err != nil {
		return nil, fmt.Errorf("layer of image %s: %w", i.Name, err)
	}
	conf, err := json.Marshal(i.config(layer))
	if err != nil {
		return nil, fmt.Errorf("configuration of image %s: %w", i.Name, err)
	}
	confName := digest(conf) + ".json"
	man, err := json.Marshal([]manifest{{Config: confName, RepoTags: []string{i.Name}, Layers: []string{"layer.tar"}}})
	if err != nil {
		return nil, fmt.Errorf("manifest of image %s: %w", i.Name, err)
	}
	return pack([]File{
		{Path: confName, Mode: 0o644, Data: conf},
		{Path: "manifest.json", Mode: 0o644, Data: man},
		{Path: "layer.tar", Mode: 0o644, Data: layer},
	})
}

func (i Image) config(layer []byte) config {
	return config{
		Architecture: "amd64",
		OS:           "linux",
		Config:       configRun{Env: []string{"PATH=/bin"}, Entrypoint: i.Entrypoint, Cmd: i.Cmd},
		RootFS:       configRootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}},
	}
}

// Write writes the image into dir and returns the file's path. It does not touch a file
// that has the same content already.
func (i Image) Write(dir string) (string, error) {
	data, err := i.Encode()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, i.Tar)
	if err := writeChanged(path, data); err != nil {
		return "", fmt.Errorf("write image %s: %w", i.Name, err)
	}
	return path, nil
}

func writeChanged(path string, data []byte) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// a reader must never see an incomplete image, even after a killed run
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
