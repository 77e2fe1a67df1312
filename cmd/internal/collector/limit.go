package collector

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// Limit has the collector run as often as it must when memory gets near what the container may have, unless GOMEMLIMIT says
// what is wanted.
func Limit() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit(os.ReadFile))
	}
}

// limit is nine tenths of what the cgroup, version 2 or 1, allows in bytes; without a limit it is none.
func limit(read func(string) ([]byte, error)) int64 {
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
