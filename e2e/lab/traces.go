package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Control groups and a mount point are the only things of a lab that its namespaces do not take away.

// folderPrefix begins the name of each lab's folder, which the number of the process that made it follows; its control
// groups are named likewise.
const folderPrefix = "waypost-lab-"

// sweep removes what labs have left whose process was killed.
func sweep() {
	for _, pattern := range []string{filepath.Join(os.TempDir(), folderPrefix+"*"), "/sys/fs/cgroup/" + folderPrefix + "*", "/sys/fs/cgroup/*/" + folderPrefix + "*"} {
		found, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, path := range found {
			number, _, ours := strings.Cut(strings.TrimPrefix(filepath.Base(path), folderPrefix), "-")
			if pid, err := strconv.Atoi(number); ours && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				removeTraces(filepath.Join(os.TempDir(), filepath.Base(path)))
			}
		}
	}
}

// removeTraces removes a lab's folder, which is empty, as what was written there lived in the other mount namespace, and
// its control groups.
func removeTraces(folder string) {
	os.Remove(folder)
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		groups, _ := filepath.Glob(pattern + filepath.Base(folder) + "*")
		for _, group := range groups {
			if err := removeGroup(group); err != nil {
				fmt.Fprintln(os.Stderr, "lab:", err)
			}
		}
	}
}

// removeGroup removes a control group and those below it. The last processes may still be on their way out.
func removeGroup(path string) error {
	var groups []string
	err := filepath.WalkDir(path, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return nil // what is gone already need not be removed
	})
	if err != nil {
		return fmt.Errorf("list control group %s: %w", path, err)
	}
	for _, group := range slices.Backward(groups) {
		err := os.Remove(group)
		for end := time.Now().Add(grace); errors.Is(err, syscall.EBUSY) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // nothing tells when a group of version 1 becomes empty
			err = os.Remove(group)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove a control group: %w", err)
		}
	}
	return nil
}

// makeGroup makes a control group of that name in each hierarchy, in which groups below may run processes.
func makeGroup(name string) error {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return makeUnifiedGroup(filepath.Join("/sys/fs/cgroup", name))
	}
	hierarchies, _ := filepath.Glob("/sys/fs/cgroup/*") // the pattern is well-formed
	for _, hierarchy := range hierarchies {
		if link, err := os.Lstat(hierarchy); err != nil || !link.IsDir() {
			continue
		}
		group := filepath.Join(hierarchy, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // a new group has none, and so runs nothing
			if all, err := os.ReadFile(filepath.Join(hierarchy, file)); err == nil {
				if err := os.WriteFile(filepath.Join(group, file), all, 0); err != nil {
					return fmt.Errorf("set up a control group: %w", err)
				}
			}
		}
	}
	return nil
}

// makeUnifiedGroup makes a group of version 2 that hands all controllers on.
func makeUnifiedGroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	all, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("set up control group %s: %w", path, err)
	}
	for _, group := range []string{"/sys/fs/cgroup", path} {
		for controller := range strings.FieldsSeq(string(all)) {
			if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
				return fmt.Errorf("hand controller %s on to the groups below %s: %w", controller, group, err)
			}
		}
	}
	return nil
}
