package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/isthmus-cni/isthmus/internal/lab/image"
)

// buildImages returns the command that packs the programs of "make build" into images. It
// needs no Docker.
func buildImages() *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Pack the images that the lab's nodes run", Args: cobra.NoArgs}
	bin := c.Flags().String("bin", "bin", "directory with the programs, and for the images")
	tools := c.Flags().Bool("tools-only", false, "only the images that hold nothing of Isthmus")
	demo := c.Flags().String("demo", "", "pack this program for the walkthroughs' pods, and nothing else")
	dns := c.Flags().String("coredns", "", "pack this program, and nothing else")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := os.MkdirAll(*bin, 0o755); err != nil {
			return err
		}
		for program, pack := range map[*string]func(program string) (string, error){
			dns:  func(p string) (string, error) { return image.CoreDNS(p, *bin) },
			demo: func(p string) (string, error) { return image.Demo(c.Context(), p, *bin) },
		} {
			if *program != "" {
				file, err := pack(*program)
				if err == nil {
					fmt.Println(file)
				}
				return err
			}
		}
		built, err := build(c, *bin, *tools)
		if err != nil {
			return err
		}
		for _, file := range []string{built.Isthmus, built.Tools, built.Pause} {
			if file != "" {
				fmt.Println(file)
			}
		}
		return nil
	}
	return c
}

func build(c *cobra.Command, bin string, toolsOnly bool) (image.Built, error) {
	if toolsOnly {
		return image.BuildTools(c.Context(), bin)
	}
	return image.Build(c.Context(), image.Binaries{
		Controller: filepath.Join(bin, "isthmus-controller"),
		Agent:      filepath.Join(bin, "isthmus-agent"),
		CNI:        filepath.Join(bin, "isthmus-cni"),
	}, bin)
}
