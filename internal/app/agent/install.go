package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// pluginName is the plugin's file name, which is its type in the configuration.
const pluginName = "isthmus-cni"

// confName is the configuration's file name. The runtime uses the first file of the
// directory, so the name must sort before those of other plugins.
const confName = "01-isthmus.conflist"

// install copies the plugin and writes its configuration to the runtime's directories.
// It writes the configuration last, after canPlug has returned, because it makes the
// node Ready. The configuration stays when the agent stops, so that the runtime repeats
// its requests until an agent answers; cleanup removes it. Without Options.Plugin,
// install does nothing.
func install(ctx context.Context, o Options, canPlug func(context.Context) error, log *slog.Logger) error {
	if o.Plugin == "" {
		return nil
	}
	program := filepath.Join(o.BinDir, pluginName)
	if err := copyFile(o.Plugin, program); err != nil {
		return fmt.Errorf("install the CNI plugin: %w", err)
	}
	if err := canPlug(ctx); err != nil {
		return err
	}
	conf, err := conflist(o.Socket)
	if err != nil {
		return err
	}
	file := filepath.Join(o.ConfDir, confName)
	if err := replace(file, conf, 0o644); err != nil {
		return fmt.Errorf("write the CNI configuration: %w", err)
	}
	log.Info("CNI plugin installed", "plugin", program, "configuration", file)
	return nil
}

// conflist returns the network configuration list. A runtime that knows cniVersions uses
// the newest that it supports, for GC and STATUS; containerd 1.6 uses cniVersion.
func conflist(socket string) ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"cniVersion":  "1.0.0",
		"cniVersions": []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"},
		"name":        "isthmus",
		"plugins": []any{map[string]any{
			"type": pluginName, "socket": socket, "capabilities": map[string]bool{"portMappings": true},
		}},
	}, "", "  ")
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	return replace(to, data, 0o755)
}

// tmpPattern names the files that replace writes before it renames them.
const tmpPattern = ".isthmus-*"

// replace writes a file atomically: the runtime sees either the old content or the new
// one, and a running plugin keeps its program.
func replace(file string, data []byte, mode os.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), tmpPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
