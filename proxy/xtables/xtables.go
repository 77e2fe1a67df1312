// Package xtables takes chains out of the tables of iptables' former flavour, iptables-legacy. Those are no part of nftables
// and have no netlink: a program reads a whole table with a socket option, and puts a whole table in its place with another.
package xtables

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family is IPv4 or IPv6: how its tables are reached, and what an entry (struct ipt_entry, struct ip6t_entry) is like.
type family struct {
	program       string // that has its tables
	domain, level int    // of the socket and its options
	names         string // the file in /proc/net that names the tables that there are
	layout
}

var families = []family{
	{"iptables-legacy", unix.AF_INET, unix.SOL_IP, "ip_tables_names", layout{targetOffset: 88, head: 112}},
	{"ip6tables-legacy", unix.AF_INET6, unix.SOL_IPV6, "ip6_tables_names", layout{targetOffset: 140, head: 168}},
}

// Prune takes chains out of all tables in the network namespace of the thread that calls it, with the rules of other chains
// that lead to them, and returns which had some. The counters of all other rules stay. Tables that have none of them are not
// touched, and none is made.
func Prune(unwanted func(chain string) bool) (pruned []string, err error) {
	unlock := lock()
	defer unlock()
	var failed []error
	for i := range families {
		tables, err := families[i].prune(unwanted)
		pruned, failed = append(pruned, tables...), append(failed, err)
	}
	return pruned, errors.Join(failed...)
}

// lockFile is what iptables holds while it works.
const lockFile = "/run/xtables.lock"

// How long to wait for the lock, as kube-proxy does, and how often to look.
const (
	lockPatience = 5 * time.Second
	lockPause    = 20 * time.Millisecond
)

// lock waits until no iptables works that is in the same mount namespace, if ever one was. One that works for ever, and others,
// are noticed (replace).
func lock() (unlock func()) {
	file, err := os.Open(lockFile)
	if err != nil {
		return func() {}
	}
	until := time.Now().Add(lockPatience)
	for unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil && time.Now().Before(until) {
		time.Sleep(lockPause)
	}
	return func() { _ = file.Close() }
}

func (f *family) prune(unwanted func(string) bool) (pruned []string, err error) {
	names, err := os.ReadFile("/proc/thread-self/net/" + f.names)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(names) == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find the tables of %s: %w", f.program, err)
	}
	fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket to %s: %w", f.program, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var failed []error
	for _, name := range strings.Fields(string(names)) {
		table := fmt.Sprintf("table %s of %s", name, f.program)
		had, err := f.pruneTable(fd, name, unwanted)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("take chains out of %s: %w", table, err))
		case had:
			pruned = append(pruned, table)
		}
	}
	return pruned, errors.Join(failed...)
}

// patience is how often a table is read anew that has changed meanwhile.
const patience = 10

// pruneTable reports whether the table had unwanted chains.
func (f *family) pruneTable(fd int, name string, unwanted func(string) bool) (had bool, err error) {
	for try := 1; ; try++ {
		old, err := f.read(fd, name)
		if err != nil {
			return false, err
		}
		pruned, kept, err := f.without(old, unwanted)
		if err != nil || len(kept) == int(old.entries) {
			return false, err
		}
		if err = f.replace(fd, name, old, pruned, kept); !errors.Is(err, unix.EAGAIN) || try == patience {
			return err == nil, err
		}
	}
}
