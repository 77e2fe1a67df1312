// Package demo is the cluster that Waypost serves when it is given none: small, and with one of everything that has a name
// in DNS. Its files are what a person would write or dump, and read as they would be from a folder.
package demo

import "embed"

// Files are the manifests, all in the top folder.
//
//go:embed *.yaml
var Files embed.FS
