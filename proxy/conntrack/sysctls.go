package conntrack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Sysctls are the kernel parameters of connection tracking that kube-proxy's configuration sets (conntrack.*). The zero value
// of each leaves the kernel's own.
type Sysctls struct {
	// ConntrackMaxPerCore times the number of processors, but at least ConntrackMin and at most 1,048,576, is how many flows
	// there may be; the hash table is made large enough for it.
	ConntrackMaxPerCore, ConntrackMin int
	TCPEstablished, TCPCloseWait      time.Duration // whole seconds
	UDP, UDPStream                    time.Duration
	TCPBeLiberal                      bool // packets outside of a connection's window are not invalid
}

// mostFlows bounds what many processors would make of ConntrackMaxPerCore, as kube-proxy does.
const mostFlows = 1 << 20

// hashFile is the hash table's size, of which the kernel wants a quarter of the flows.
const hashFile = "sys/module/nf_conntrack/parameters/hashsize"

// Set sets the parameters that differ, in the file tree below root ("/" but in tests), and returns what it has changed, as
// "net.netfilter.nf_conntrack_max = 131072 (was 65536)". It goes on after an error. No other parameter is ever touched.
func (s *Sysctls) Set(root string) (changed []string, err error) {
	set := setter{root: root}
	if flows := s.flows(processors(root)); flows > 0 {
		set.file(netfilterFile("nf_conntrack_max"), flows, func(old int) bool { return old == flows })
		set.file(hashFile, flows/4, func(old int) bool { return old >= flows/4 })
	}
	for _, p := range []struct {
		name  string
		value int
	}{
		{"nf_conntrack_tcp_timeout_established", seconds(s.TCPEstablished)},
		{"nf_conntrack_tcp_timeout_close_wait", seconds(s.TCPCloseWait)},
		{"nf_conntrack_udp_timeout", seconds(s.UDP)},
		{"nf_conntrack_udp_timeout_stream", seconds(s.UDPStream)},
		{"nf_conntrack_tcp_be_liberal", map[bool]int{true: 1}[s.TCPBeLiberal]},
	} {
		if p.value > 0 {
			set.file(netfilterFile(p.name), p.value, func(old int) bool { return old == p.value })
		}
	}
	return set.changed, errors.Join(set.failed...)
}

// flows is how many flows there may be, 0 for the kernel's own number.
func (s *Sysctls) flows(processors int) int {
	if s.ConntrackMaxPerCore <= 0 {
		return 0
	}
	if scaled := s.ConntrackMaxPerCore * processors; scaled <= mostFlows {
		return max(scaled, s.ConntrackMin)
	}
	return mostFlows
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func netfilterFile(name string) string { return "proc/sys/net/netfilter/" + name }

// setter writes numbers into files.
type setter struct {
	root    string
	changed []string
	failed  []error
}

// file writes a number, unless what is there is right.
func (s *setter) file(path string, value int, right func(old int) bool) {
	if err := s.write(path, value, right); err != nil {
		s.failed = append(s.failed, fmt.Errorf("set %s to %d: %w", nameOfFile(path), value, err))
	}
}

func (s *setter) write(path string, value int, right func(old int) bool) error {
	full := filepath.Join(s.root, path)
	text, err := os.ReadFile(full)
	if err != nil {
		return err
	}
	old, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read the value before: %w", err)
	}
	if right(old) {
		return nil
	}
	if err := os.WriteFile(full, strconv.AppendInt(nil, int64(value), 10), 0o640); err != nil {
		return err
	}
	s.changed = append(s.changed, fmt.Sprintf("%s = %d (was %d)", nameOfFile(path), value, old))
	return nil
}

// nameOfFile is a parameter's name as sysctl writes it, or the path of what is none.
func nameOfFile(path string) string {
	if name, ok := strings.CutPrefix(path, "proc/sys/"); ok {
		return strings.ReplaceAll(name, "/", ".")
	}
	return "/" + path
}

// processors is how many are online: the runtime counts only those that this process may use.
func processors(root string) int {
	text, err := os.ReadFile(filepath.Join(root, "sys/devices/system/cpu/online"))
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err1 != nil || err2 != nil || to < from {
			return runtime.NumCPU()
		}
		n += to - from + 1
	}
	return n
}
