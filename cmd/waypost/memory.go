package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// gcPercent is how much the heap may grow between two collections, in percent of what was alive after the last one. A
// cluster's zone is large and lives long, while queries allocate nothing: to collect often costs little here and keeps
// memory small.
const gcPercent = 50

// tuneMemory sets the collector for a server, unless GOGC or GOMEMLIMIT say what is wanted. Near the memory limit of the
// container it collects as often as it must.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(os.ReadFile))
	}
}

// memoryLimit is nine tenths of what the cgroup, version 2 or 1, allows in bytes; without a limit it is none.
func memoryLimit(read func(string) ([]byte, error)) int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := read(file)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && limit > 0 {
			return limit / 10 * 9
		}
	}
	return math.MaxInt64
}
