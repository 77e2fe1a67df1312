package conntrack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tree is a file tree with contents by path.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func kernelsOwn() map[string]string {
	return map[string]string{
		"sys/devices/system/cpu/online":                               "0-1,4\n",
		"sys/module/nf_conntrack/parameters/hashsize":                 "16384\n",
		"proc/sys/net/netfilter/nf_conntrack_max":                     "65536\n",
		"proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established": "432000\n",
		"proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait":  "60\n",
		"proc/sys/net/netfilter/nf_conntrack_udp_timeout":             "30\n",
		"proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream":      "120\n",
		"proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal":          "0\n",
		"proc/sys/net/ipv4/conf/all/route_localnet":                   "0\n",
	}
}

func TestSysctlsSetWhatDiffers(t *testing.T) {
	root := tree(t, kernelsOwn())
	s := Sysctls{
		ConntrackMaxPerCore: 32768, ConntrackMin: 131072, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour,
		UDP: 30 * time.Second, TCPBeLiberal: true,
	}
	changed, err := s.Set(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"net.netfilter.nf_conntrack_max = 131072 (was 65536)",
		"/sys/module/nf_conntrack/parameters/hashsize = 32768 (was 16384)",
		"net.netfilter.nf_conntrack_tcp_timeout_established = 86400 (was 432000)",
		"net.netfilter.nf_conntrack_tcp_timeout_close_wait = 3600 (was 60)",
		"net.netfilter.nf_conntrack_tcp_be_liberal = 1 (was 0)",
	}
	if !slices.Equal(changed, want) {
		t.Errorf("changed\n%s\nwant\n%s", strings.Join(changed, "\n"), strings.Join(want, "\n"))
	}
	for path, before := range kernelsOwn() {
		after, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		named := slices.ContainsFunc(changed, func(c string) bool { return strings.HasPrefix(c, nameOfFile(path)+" ") })
		if named == (string(after) == before) {
			t.Errorf("%s was %q and is %q; among the changes: %v", path, before, after, named)
		}
	}
	if changed, err := s.Set(root); err != nil || len(changed) > 0 {
		t.Errorf("the second time: changed %q, %v", changed, err)
	}
}

func TestSysctlsOfNothingTouchNothing(t *testing.T) {
	changed, err := (&Sysctls{}).Set(tree(t, nil))
	if err != nil || len(changed) > 0 {
		t.Errorf("changed %q, %v", changed, err)
	}
}

func TestSysctlsGoOnAfterAnError(t *testing.T) {
	files := kernelsOwn()
	delete(files, "proc/sys/net/netfilter/nf_conntrack_max")
	files["sys/module/nf_conntrack/parameters/hashsize"] = "many\n"
	changed, err := (&Sysctls{ConntrackMaxPerCore: 32768, TCPCloseWait: time.Hour}).Set(tree(t, files))
	if err == nil || !strings.Contains(err.Error(), "set net.netfilter.nf_conntrack_max to 98304: ") ||
		!strings.Contains(err.Error(), "set /sys/module/nf_conntrack/parameters/hashsize to 24576: ") {
		t.Errorf("error %v", err)
	}
	if len(changed) != 1 {
		t.Errorf("changed %q, want the timeout", changed)
	}
}

func TestFlowsGrowWithProcessorsUpToABound(t *testing.T) {
	for _, c := range []struct{ perCore, least, processors, want int }{
		{0, 131072, 4, 0}, {32768, 131072, 2, 131072}, {32768, 131072, 8, 262144}, {32768, 131072, 128, 1048576}, {1, 0, 4, 4},
		{1, 2 << 20, 4, 2 << 20},
	} {
		s := Sysctls{ConntrackMaxPerCore: c.perCore, ConntrackMin: c.least}
		if got := s.flows(c.processors); got != c.want {
			t.Errorf("%d per core, at least %d, on %d: got %d, want %d", c.perCore, c.least, c.processors, got, c.want)
		}
	}
}
