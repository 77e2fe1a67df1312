package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
)

// folder is a folder of real files that a test changes.
type folder struct {
	t    *testing.T
	path string
}

func newFolder(t *testing.T, texts map[string]string) folder {
	f := folder{t, t.TempDir()}
	for name, text := range texts {
		f.write(name, text)
	}
	return f
}

func (f folder) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) at(name string) string { return filepath.Join(f.path, name) }

// write writes a file in place, as a shell does.
func (f folder) write(name, text string) {
	f.t.Helper()
	f.do(os.MkdirAll(filepath.Dir(f.at(name)), 0o755))
	f.do(os.WriteFile(f.at(name), []byte(text), 0o644))
}

// watch runs a source over a path and waits for its first words.
func watch(t *testing.T, path string, first ...string) (*sink, *logLines) {
	t.Helper()
	s, err := FromPath(path, cluster.Needs{NoSlices: true}, newLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.poll = time.Hour // but for the tests of polling
	sink, log := run(t, s)
	if first != nil {
		sink.next(first...)
		sink.next("synced namespaces")
		sink.next("synced services")
	}
	return sink, log
}

// named is a Service in its own namespace of the same name.
func named(name, ip string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + name + "}\nspec: {clusterIP: " + ip + "}\n---\n"
}

func TestFolderChanges(t *testing.T) {
	f := newFolder(t, map[string]string{"a.yaml": named("a", "10.0.0.1")})
	sink, log := watch(t, f.path, "+ namespace a", "+ service a/a ClusterIP 10.0.0.1")

	f.write("a.yaml", named("a", "10.0.0.2"))
	sink.next("~ service a/a ClusterIP 10.0.0.2")

	f.write("b.json", `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "namespace": "b"}, "spec": {"clusterIP": "10.0.0.3"}}`)
	sink.next("+ namespace b", "+ service b/b ClusterIP 10.0.0.3")

	f.write("notes.txt", "no manifest")
	f.write(".a.yaml.swp", "{")
	f.do(os.Chmod(f.at("a.yaml"), 0o600))
	f.do(os.Rename(f.at("a.yaml"), f.at("c.yaml"))) // says the same under another name
	f.do(os.Remove(f.at("b.json")))
	sink.next("- service b/b ClusterIP 10.0.0.3", "- namespace b")

	f.write(".new", named("a", "10.0.0.4")) // as editors save
	f.do(os.Rename(f.at(".new"), f.at("c.yaml")))
	sink.next("~ service a/a ClusterIP 10.0.0.4")
	if lines := log.all(); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
}

// TestBrokenChange wants all of the last state to stay while one file is broken, and all of the new one after.
func TestBrokenChange(t *testing.T) {
	f := newFolder(t, map[string]string{"a.yaml": named("a", "10.0.0.1"), "b.yaml": named("b", "10.0.0.2")})
	sink, log := watch(t, f.path, "+ namespace a", "+ namespace b", "+ service a/a ClusterIP 10.0.0.1", "+ service b/b ClusterIP 10.0.0.2")

	f.write("b.yaml", "kind: [\n")
	log.next(t, "ERROR "+f.path+": b.yaml: document 1 (line 1): yaml: line 1: did not find expected node content; what was read last stays in force")
	f.do(os.Remove(f.at("a.yaml")))
	log.next(t, "ERROR "+f.path+": b.yaml: document 1 (line 1): yaml: line 1: did not find expected node content; what was read last stays in force")
	f.write("b.yaml", named("b", "10.0.0.3"))
	log.next(t, "INFO "+f.path+": could be read again")
	sink.next("~ service b/b ClusterIP 10.0.0.3", "- service a/a ClusterIP 10.0.0.1", "- namespace a")

	f.do(os.Remove(f.at("b.yaml")))
	log.next(t, "ERROR "+f.path+": no *.yaml, *.yml or *.json file is in the folder; what was read last stays in force")
	f.write("b.yaml", named("b", "10.0.0.4"))
	sink.next("~ service b/b ClusterIP 10.0.0.4")
}

// TestNoRegularFile: what would never let go of who reads it is not opened. A pipe has nobody who writes to it.
func TestNoRegularFile(t *testing.T) {
	f := newFolder(t, map[string]string{"a.yaml": named("a", "10.0.0.1")})
	sink, log := watch(t, f.path, "+ namespace a", "+ service a/a ClusterIP 10.0.0.1")
	for _, odd := range []func() error{
		func() error { return syscall.Mkfifo(f.at("b.yaml"), 0o644) },
		func() error { return os.Symlink("/dev/zero", f.at("b.yaml")) },
	} {
		f.do(odd())
		log.next(t, "ERROR "+f.path+": b.yaml: this is no regular file: move it out of the folder, or give it another suffix; what was read last stays in force")
		f.do(os.Remove(f.at("b.yaml")))
		log.next(t, "INFO "+f.path+": could be read again")
	}
	f.write("a.yaml", named("a", "10.0.0.2"))
	sink.next("~ service a/a ClusterIP 10.0.0.2")
}

// TestConfigMap replaces files as kubelet does for a mounted ConfigMap: each is a link through ..data, which is renamed
// into place to point at another folder.
func TestConfigMap(t *testing.T) {
	f := newFolder(t, map[string]string{"..1/a.yaml": named("a", "10.0.0.1"), "..1/b.yaml": named("b", "10.0.0.1")})
	f.do(os.Symlink("..1", f.at("..data")))
	f.do(os.Symlink("..data/a.yaml", f.at("a.yaml")))
	f.do(os.Symlink("..data/b.yaml", f.at("b.yaml")))
	sink, log := watch(t, f.path, "+ namespace a", "+ namespace b", "+ service a/a ClusterIP 10.0.0.1", "+ service b/b ClusterIP 10.0.0.1")
	for i, ip := range []string{"10.0.0.2", "10.0.0.3"} {
		last, next := []string{"..1", "..2", "..3"}[i], []string{"..2", "..3"}[i]
		f.write(next+"/a.yaml", named("a", ip))
		f.write(next+"/b.yaml", named("b", ip))
		f.do(os.Symlink(next, f.at("..data_tmp")))
		f.do(os.Rename(f.at("..data_tmp"), f.at("..data")))
		f.do(os.RemoveAll(f.at(last)))
		sink.next("~ service a/a ClusterIP "+ip, "~ service b/b ClusterIP "+ip)
	}
	if lines := log.all(); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
}

// TestPathAppears starts before there is anything, and has the folder taken away and put back.
func TestPathAppears(t *testing.T) {
	f := newFolder(t, nil)
	path := f.at("manifests")
	sink, log := watch(t, path)
	missing := "ERROR " + path + ": look for manifests: stat " + path + ": no such file or directory; what was read last stays in force"
	log.next(t, missing)

	f.write("new/a.yaml", named("a", "10.0.0.1"))
	f.do(os.Rename(f.at("new"), path))
	log.next(t, "INFO "+path+": could be read again")
	sink.next("+ namespace a", "+ service a/a ClusterIP 10.0.0.1")
	sink.next("synced namespaces")
	sink.next("synced services")

	f.do(os.Rename(path, f.at("old")))
	log.next(t, missing)
	f.write("manifests/a.yaml", named("a", "10.0.0.2"))
	sink.next("~ service a/a ClusterIP 10.0.0.2")
	f.write("manifests/a.yaml", named("a", "10.0.0.3"))
	sink.next("~ service a/a ClusterIP 10.0.0.3")
}

// TestFile watches one file of any name, alone of those in its folder.
func TestFile(t *testing.T) {
	f := newFolder(t, map[string]string{"dump": named("a", "10.0.0.1"), "other.yaml": "{"})
	sink, log := watch(t, f.at("dump"), "+ namespace a", "+ service a/a ClusterIP 10.0.0.1")
	f.write("other.yaml", "{{")
	f.write("dump", named("a", "10.0.0.2"))
	sink.next("~ service a/a ClusterIP 10.0.0.2")
	f.write(".new", named("a", "10.0.0.3"))
	f.do(os.Rename(f.at(".new"), f.at("dump")))
	sink.next("~ service a/a ClusterIP 10.0.0.3")
	if lines := log.all(); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
}

// TestLinkedFile watches what a link leads to.
func TestLinkedFile(t *testing.T) {
	f := newFolder(t, map[string]string{"far/away/a.yaml": named("a", "10.0.0.1")})
	f.do(os.Mkdir(f.at("near"), 0o755))
	f.do(os.Symlink("../far/away/a.yaml", f.at("near/a.yaml")))
	sink, _ := watch(t, f.at("near"), "+ namespace a", "+ service a/a ClusterIP 10.0.0.1")
	f.write("far/away/a.yaml", named("a", "10.0.0.2"))
	sink.next("~ service a/a ClusterIP 10.0.0.2")
}

// TestPoll has a link far up the path point elsewhere, of which no watched folder tells.
func TestPoll(t *testing.T) {
	f := newFolder(t, map[string]string{"1/prod/manifests/a.yaml": named("a", "10.0.0.1"), "2/prod/manifests/a.yaml": named("a", "10.0.0.2")})
	f.do(os.Symlink("1", f.at("current")))
	s, err := FromPath(f.at("current/prod/manifests"), cluster.Needs{NoSlices: true}, newLog(), nil)
	f.do(err)
	s.poll = 10 * time.Millisecond
	sink, _ := run(t, s)
	sink.next("+ namespace a", "+ service a/a ClusterIP 10.0.0.1")
	sink.next("synced namespaces")
	sink.next("synced services")
	f.do(os.Symlink("2", f.at("next")))
	f.do(os.Rename(f.at("next"), f.at("current")))
	sink.next("~ service a/a ClusterIP 10.0.0.2")
}

// TestTerminatingPod wants a Pod that is being deleted to stay as it was known, and one seen only then not to come.
func TestTerminatingPod(t *testing.T) {
	const running = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nstatus: {phase: Running, podIP: 10.0.0.1}\n"
	going := strings.Replace(running, "namespace: a", "namespace: a"+deleting, 1)
	f := newFolder(t, map[string]string{"a.yaml": running, "b.yaml": strings.Replace(going, "name: p", "name: q", 1)})
	s, err := FromPath(f.path, cluster.Needs{NoSlices: true, Pods: true}, newLog(), nil)
	f.do(err)
	sink, _ := run(t, s)
	sink.next("+ namespace a", "+ pod a/p 10.0.0.1")
	for _, kind := range []string{"namespaces", "services", "pods"} {
		sink.next("synced " + kind)
	}
	f.write("a.yaml", strings.Replace(going, "10.0.0.1", "10.0.0.2", 1)+"---\n"+named("b", "10.0.0.3"))
	sink.next("+ namespace b", "+ service b/b ClusterIP 10.0.0.3")
	f.do(os.Remove(f.at("a.yaml")))
	sink.next("- pod a/p 10.0.0.1", "- service b/b ClusterIP 10.0.0.3", "- namespace b")
}
