package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// The linker sets these: -ldflags "-X main.version=1.2.3 -X main.revision=abcdef0".
var (
	version  = "0.1.0-dev"
	revision string
)

// commit is what the program was built from: what the linker was told, or what the Go tool noted.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if revision != "" || !ok {
		return revision
	}
	noted, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			noted = s.Value[:min(7, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	return noted + changed
}

// versionText is the last part of the banner.
func versionText() string {
	return fmt.Sprintf("Waypost-%s\n%s/%s, %s, %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version(), commit())
}
