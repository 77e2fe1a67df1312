// Package manifest makes a cluster out of manifests: a file or a folder of what `kubectl get svc,endpointslices,pods,ns -A
// -o yaml` prints, or of what a person wrote for `kubectl apply`.
//
// It reads Services, EndpointSlices, Pods, Namespaces, Nodes, ServiceCIDRs and ServiceImports, in YAML of one or many documents
// or in JSON, alone or in lists; all other kinds are passed over. Of a folder it reads the files *.yaml, *.yml and *.json that
// are not hidden, and like `kubectl apply -f` no folder inside it. What a real cluster would add is added:
//
//   - an object without a namespace is in "default", and a namespace that is named but not described exists, with the
//     label kubernetes.io/metadata.name that the API server gives it;
//   - a Service with a selector and without EndpointSlices gets those the EndpointSlice controller would make of the Pods;
//   - a Service without spec.clusterIP gets an address, always the same one, out of ranges that real clusters use by
//     default, and a warning says so.
package manifest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/waypost/waypost/cluster"
	follow "github.com/waypost/waypost/watch/files"
)

// Source is a cluster.Source over manifests. The files count as one: after a change either all of them are taken in or,
// where one does not parse or none is there, none is, and the last state stays.
type Source struct {
	files     files
	needs     cluster.Needs
	selectors selectors
	log       *slog.Logger
	skipped   func(cluster.Kind)
	poll      time.Duration // between two looks at files that the kernel reports nothing of

	state  state
	synced bool
	failed bool            // the last reading
	said   map[string]bool // the warnings of the last reading
}

// selectors are those of cluster.Needs, parsed.
type selectors struct {
	objects    labels.Selector // Services, slices and Pods
	namespaces labels.Selector // Namespaces and ServiceImports
}

// FromPath returns the source over a file or a folder, which is read again as it changes and need not be there yet. skipped
// is told, after each reading, of every object that was left out, or a part of it, as watch.Metrics is; nil drops. The error
// is that of a selector in needs.
func FromPath(path string, needs cluster.Needs, log *slog.Logger, skipped func(cluster.Kind)) (*Source, error) {
	return newSource(files{path: path}, needs, log, skipped)
}

// FromFS returns the source over the top folder of fsys, which is read once. The rest is as with FromPath.
func FromFS(fsys fs.FS, needs cluster.Needs, log *slog.Logger, skipped func(cluster.Kind)) (*Source, error) {
	return newSource(files{fsys: fsys}, needs, log, skipped)
}

func newSource(f files, needs cluster.Needs, log *slog.Logger, skipped func(cluster.Kind)) (*Source, error) {
	if skipped == nil {
		skipped = func(cluster.Kind) {}
	}
	objects, err := labels.Parse(needs.Labels)
	if err != nil {
		return nil, fmt.Errorf("label selector %q: %w", needs.Labels, err)
	}
	namespaces, err := labels.Parse(needs.NamespaceLabels)
	if err != nil {
		return nil, fmt.Errorf("namespace label selector %q: %w", needs.NamespaceLabels, err)
	}
	return &Source{
		files: f, needs: needs, selectors: selectors{objects: objects, namespaces: namespaces},
		log: log, skipped: skipped, poll: follow.Poll, said: map[string]bool{},
	}, nil
}

// Run implements cluster.Source. It may be called once.
func (s *Source) Run(ctx context.Context, sink cluster.Sink) {
	if s.files.fsys != nil {
		s.take(sink)
		<-ctx.Done()
		return
	}
	follower, told := s.follow()
	defer follower.Close()
	for {
		s.take(sink)
		select {
		case <-told:
		case <-ctx.Done():
			return
		}
	}
}

// take reads the files and applies what is new in them. Files that change meanwhile are left for the next time, and so
// are the errors in them.
func (s *Source) take(sink cluster.Sink) {
	before := s.files.look()
	found, err := s.files.read()
	if s.files.look() != before {
		return
	}
	if err != nil {
		s.log.Error(fmt.Sprintf("%s: %v; what was read last stays in force", s.files.name(), err))
		s.failed = true
		return
	}
	if s.failed {
		s.log.Info(fmt.Sprintf("%s: could be read again", s.files.name()))
		s.failed = false
	}
	next := found.build(s.needs, s.selectors, &s.state)
	s.warn(found.warnings)
	for _, kind := range found.skipped {
		s.skipped(kind)
	}
	if changes := s.state.replace(next); len(changes) > 0 {
		sink.Apply(changes)
	}
	if !s.synced {
		s.synced = true
		for _, kind := range s.needs.Kinds() {
			sink.Synced(kind)
		}
	}
}

// maxWarnings are printed after one reading: a dump that another API server wrote may have the same thing thousands of
// times.
const maxWarnings = 20

// warn prints the warnings that the last reading did not have.
func (s *Source) warn(warnings []string) {
	said := make(map[string]bool, len(warnings))
	printed, more := 0, 0
	for _, w := range warnings {
		fresh := !s.said[w] && !said[w]
		said[w] = true
		switch {
		case fresh && printed < maxWarnings:
			s.log.Warn(w)
			printed++
		case fresh:
			more++
		}
	}
	if more > 0 {
		s.log.Warn(fmt.Sprintf("%s: %d more warnings like these", s.files.name(), more))
	}
	s.said = said
}

// state is all that was told, by kind and key.
type state [cluster.Kinds]map[cluster.Key]cluster.Object

// add puts an object in its place.
func (s *state) add(o cluster.Object) {
	if s[o.Kind()] == nil {
		s[o.Kind()] = map[cluster.Key]cluster.Object{}
	}
	s[o.Kind()][o.Key()] = o
}

// replace makes next the state and returns how it differs from the last one: first what is new or different, Namespaces
// before what lives in them, then what is gone, in the opposite order; within a kind by key.
func (s *state) replace(next state) []cluster.Change {
	var changes, gone []cluster.Change
	for kind := range next {
		for _, key := range sortedKeys(next[kind]) {
			old, was := s[kind][key]
			switch {
			case !was:
				changes = append(changes, cluster.Change{New: next[kind][key]})
			case old.Equal(next[kind][key]):
				next[kind][key] = old
			default:
				changes = append(changes, cluster.Change{Old: old, New: next[kind][key]})
			}
		}
		for _, key := range sortedKeys(s[kind]) {
			if _, stays := next[kind][key]; !stays {
				gone = append(gone, cluster.Change{Old: s[kind][key]})
			}
		}
	}
	slices.Reverse(gone)
	*s = next
	return append(changes, gone...)
}

func sortedKeys[T any](m map[cluster.Key]T) []cluster.Key {
	keys := make([]cluster.Key, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b cluster.Key) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return keys
}
