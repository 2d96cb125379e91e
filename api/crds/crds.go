// Package crds holds the generated CustomResourceDefinitions, for all who need
// to install them: the manifests, the lab and the tests.
package crds

import "embed"

// FS holds one YAML file for each kind.
//
//go:embed *.yaml
var FS embed.FS
