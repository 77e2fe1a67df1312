package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// How much the heap may grow between two collections, in percent of what was alive after the last one. While a cluster is
// read for the first time much is made and dropped, and to collect often would be most of the work. Later a zone is large
// and lives long, queries allocate nothing and changes are small: to collect often costs little then, and what is listed
// again after the API server was away does not add much.
const (
	gcLoading = 50
	gcServing = 20
)

// tuneMemory sets the collector for a server, unless GOGC or GOMEMLIMIT say what is wanted. Near the memory limit of the
// container it collects as often as it must.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcLoading)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(os.ReadFile))
	}
}

// settleMemory follows once the first state of the cluster is known: what reading it took goes back to the kernel.
func settleMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcServing)
	}
	debug.FreeOSMemory()
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
