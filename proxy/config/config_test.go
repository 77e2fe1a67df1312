package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/proxy"
)

func prefixes(text ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range text {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// defaults are the settings of a file that says nothing, and of kube-proxy without flags.
func defaults() Settings {
	return Settings{
		NodeIP: netip.IPv4Unspecified(), QPS: 5, Burst: 10, MasqueradeBit: 14, Healthz: "0.0.0.0:10256", Metrics: "127.0.0.1:10249",
		SyncPeriod: 30 * time.Second, OOMScoreAdj: -999,
		Sysctls: Sysctls{ConntrackMaxPerCore: 32768, ConntrackMin: 131072, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
	}
}

// checkSettings compares all but Effective.
func checkSettings(t *testing.T, got *Settings, want Settings) {
	t.Helper()
	plain := *got
	plain.Effective = Document{}
	if !reflect.DeepEqual(plain, want) {
		t.Errorf("settings:\n%+v\nwant:\n%+v", plain, want)
	}
}

// TestKubeadm reads what kubeadm 1.36.3 prints (`kubeadm config print init-defaults --component-configs
// KubeProxyConfiguration`), with the range of Pods that --pod-network-cidr sets.
func TestKubeadm(t *testing.T) {
	text, err := os.ReadFile("testdata/kubeadm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Settings()
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf"
	want.Pods.Prefixes = prefixes("10.244.0.0/16")
	checkSettings(t, s, want)

	got, err := json.MarshalIndent(s.Effective, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/kubeadm.effective.json")
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, '\n'); !bytes.Equal(got, golden) {
		t.Errorf("with its defaults the document is:\n%s\nwant:\n%s", got, golden)
	}
}

const header = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

// TestFields has a case for each field that has an effect.
func TestFields(t *testing.T) {
	for _, c := range []struct {
		name, text string
		change     func(*Settings)
	}{
		{"nothing", "", func(*Settings) {}},
		{"JSON", "{}", func(*Settings) {}},
		{"clientConnection", "clientConnection: {kubeconfig: /etc/k, qps: 50, burst: 100, contentType: application/json}", func(s *Settings) {
			s.Kubeconfig, s.QPS, s.Burst = "/etc/k", 50, 100
		}},
		{"clientConnection.qps", "clientConnection: {qps: -1, burst: 7}", func(s *Settings) { s.QPS, s.Burst = 0, 0 }},
		{"hostnameOverride", "hostnameOverride: ' Node-1 '", func(s *Settings) { s.NodeName = "node-1" }},
		{"bindAddress", "bindAddress: '2001:db8::1'", func(s *Settings) {
			s.NodeIP, s.Healthz, s.Metrics = netip.MustParseAddr("2001:db8::1"), "[::]:10256", "[::1]:10249"
		}},
		{"healthzBindAddress", "healthzBindAddress: 127.0.0.1:1", func(s *Settings) { s.Healthz = "127.0.0.1:1" }},
		{"healthzBindAddress without a port", "healthzBindAddress: 127.0.0.1", func(s *Settings) { s.Healthz = "127.0.0.1:10256" }},
		{"metricsBindAddress without a port", "metricsBindAddress: '::'", func(s *Settings) { s.Metrics = "[::]:10249" }},
		{"metricsBindAddress off", "metricsBindAddress: 127.0.0.1:0", func(s *Settings) { s.Metrics = "" }},
		{"bindAddressHardFail, enableProfiling", "bindAddressHardFail: true\nenableProfiling: true", func(s *Settings) { s.HardFail, s.Profiling = true, true }},
		{"logging", "logging: {format: json, verbosity: 4, flushFrequency: 5s}", func(s *Settings) { s.JSONLog, s.Verbosity = true, 4 }},
		{"ClusterCIDR", "clusterCIDR: 10.0.0.1/8,fd00::/48", func(s *Settings) { s.Pods.Prefixes = prefixes("10.0.0.0/8", "fd00::/48") }},
		{"NodeCIDR", "detectLocalMode: NodeCIDR\nclusterCIDR: 10.0.0.0/8", func(s *Settings) { s.PodsOfNode = true }},
		{"BridgeInterface", "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}", func(s *Settings) { s.Pods = proxy.Detector{Interface: "cni0"} }},
		{"InterfaceNamePrefix", "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}", func(s *Settings) { s.Pods = proxy.Detector{InterfacePrefix: "veth"} }},
		{"nodePortAddresses", "nodePortAddresses: [192.0.2.0/24, '::1/128']", func(s *Settings) { s.NodePorts = prefixes("192.0.2.0/24", "::1/128") }},
		{"nodePortAddresses: primary", "nodePortAddresses: [primary]", func(s *Settings) { s.NodePortsPrimary = true }},
		{"mode nftables opens NodePorts on the node's address only", "mode: nftables", func(s *Settings) { s.NodePortsPrimary = true }},
		{"mode nftables has a section of its own", "mode: nftables\nnodePortAddresses: [0.0.0.0/0]\niptables: {masqueradeAll: true, masqueradeBit: 3, syncPeriod: 5s}\nnftables: {masqueradeBit: 31, syncPeriod: 7s}", func(s *Settings) {
			s.NodePorts, s.MasqueradeBit, s.SyncPeriod = prefixes("0.0.0.0/0"), 31, 7*time.Second
		}},
		{"without a mode, the section iptables counts", "iptables: {masqueradeAll: true, masqueradeBit: 3, syncPeriod: 5s, localhostNodePorts: false}\nnftables: {masqueradeBit: 31}", func(s *Settings) {
			s.MasqueradeAll, s.MasqueradeBit, s.SyncPeriod = true, 3, 5*time.Second
		}},
		{"conntrack", "conntrack: {maxPerCore: 0, min: 1, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 1m, tcpBeLiberal: true, udpTimeout: 2s, udpStreamTimeout: 3s}", func(s *Settings) {
			s.Sysctls = Sysctls{ConntrackMin: 1, TCPCloseWait: time.Minute, TCPBeLiberal: true, UDP: 2 * time.Second, UDPStream: 3 * time.Second}
		}},
		{"oomScoreAdj", "oomScoreAdj: 0", func(s *Settings) { s.OOMScoreAdj = 0 }},
		{"featureGates", "featureGates: {AllowServiceExternalIPs: false}", func(s *Settings) { s.NoExternalIPs = true }},
		{"what has no effect is said", "featureGates: {Other: true}\nportRange: 1-2\nshowHiddenMetricsForVersion: '1.35'\niptables: {minSyncPeriod: 10s}\nwinkernel: {sourceVip: 10.0.0.1}", func(s *Settings) {
			s.Notes = []string{
				"featureGates.Other: has no effect here",
				"winkernel: has no effect: this is not Windows",
				"portRange: has no effect, and has none in kube-proxy",
				"showHiddenMetricsForVersion: has no effect: no metric is hidden",
				"iptables.minSyncPeriod: has no effect: changes are applied at once, and those that come meanwhile together",
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := header + c.text
			if c.name == "JSON" {
				text = `{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration"}`
			}
			d, err := Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			s, err := d.Settings()
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			c.change(&want)
			checkSettings(t, s, want)
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "apiVersion: \"\" is not kubeproxy.config.k8s.io/v1alpha1"},
		{"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeletConfiguration", "kind: \"KubeletConfiguration\" is not KubeProxyConfiguration"},
		{header + "clusterCidr: 10.0.0.0/8", "clusterCidr: there is no such field"},
		{header + "conntrack: {maxPerCPU: 1}\nnope: {a: 1}", "conntrack.maxPerCPU: there is no such field\nnope: there is no such field"},
		{header + "conntrack: {maxPerCore: many}", "conntrack.maxPerCore: a string where a number (int32) is expected"},
		{header + "conntrack: {udpTimeout: 5}", "conntrack.udpTimeout: a number where a text is expected"},
		{header + "nodePortAddresses: primary", "nodePortAddresses: a string where a list is expected"},
		{header + "iptables: 1", "iptables: a number where a section is expected"},
		{header + "enableProfiling: 1", "enableProfiling: a number where true or false is expected"},
		{header + "mode: nftables\nmode: nftables", `not YAML: yaml: unmarshal errors:
  line 4: key "mode" already set in map`},
		{header + "---\n" + header, "2 YAML documents; there may be one only"},
		{header + "mode: iptables", "mode: iptables is not supported; set it to nftables, or leave it empty"},
		{header + "mode: ipvs", "mode: ipvs is not supported; set it to nftables, or leave it empty"},
		{header + "mode: kernelspace", "mode: \"kernelspace\" is not a mode; set it to nftables, or leave it empty"},
		{header + "iptables: {localhostNodePorts: true}", "iptables.localhostNodePorts: not supported: it would open the node's loopback addresses to its neighbours (CVE-2020-8558); set it to false"},
		{header + "windowsRunAsService: true", "windowsRunAsService: not supported: this is not Windows"},
		{header + "bindAddress: eth0", "bindAddress: \"eth0\" is not an IP address"},
		{header + "healthzBindAddress: ':10256'", "healthzBindAddress: \"\" is not an IP address"},
		{header + "metricsBindAddress: 127.0.0.1:http", "metricsBindAddress: \"http\" is not a port"},
		{header + "metricsBindAddress: 127.0.0.1:70000", "metricsBindAddress: \"70000\" is not a port"},
		{header + "metricsBindAddress: localhost", "metricsBindAddress: \"localhost\" is not ADDRESS:PORT"},
		{header + "detectLocalMode: Magic", "detectLocalMode: \"Magic\" is none of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix"},
		{header + "detectLocalMode: BridgeInterface", "detectLocal.bridgeInterface: detectLocalMode BridgeInterface needs it"},
		{header + "detectLocalMode: InterfaceNamePrefix", "detectLocal.interfaceNamePrefix: detectLocalMode InterfaceNamePrefix needs it"},
		{header + "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: a-bridge-too-far}", "detectLocal.bridgeInterface: \"a-bridge-too-far\" is longer than the name of an interface can be, 15"},
		{header + "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: a-prefix-that-is-long}", "detectLocal.interfaceNamePrefix: \"a-prefix-that-is-long\" is longer than the name of an interface can be, 15"},
		{header + "clusterCIDR: 10.0.0.0", "clusterCIDR[0]: \"10.0.0.0\" is not a range of addresses, as in 10.244.0.0/16"},
		{header + "clusterCIDR: 10.0.0.0/8,11.0.0.0/8", "clusterCIDR: \"10.0.0.0/8,11.0.0.0/8\" is more than one range of a family"},
		{header + "nodePortAddresses: [10.0.0.0/8, primary]", "nodePortAddresses[1]: primary stands alone, or not at all"},
		{header + "nodePortAddresses: [10.0.0.0/8, eth0]", "nodePortAddresses[1]: \"eth0\" is not a range of addresses, as in 10.244.0.0/16"},
		{header + "iptables: {masqueradeBit: 32}", "iptables.masqueradeBit: 32 is not between 0 and 31"},
		{header + "mode: nftables\nnftables: {masqueradeBit: -1}", "nftables.masqueradeBit: -1 is not between 0 and 31"},
		{header + "iptables: {syncPeriod: soon}", "iptables.syncPeriod: \"soon\" is not a duration, as in 1h30m or 10s"},
		{header + "iptables: {syncPeriod: -5s}", "iptables.syncPeriod: -5s is less than 0"},
		{header + "iptables: {minSyncPeriod: 1m}", "iptables.minSyncPeriod: 1m0s is more than the syncPeriod, 30s"},
		{header + "conntrack: {maxPerCore: -1, min: -2}", "conntrack.maxPerCore: -1 is less than 0\nconntrack.min: -2 is less than 0"},
		{header + "oomScoreAdj: 1001", "oomScoreAdj: 1001 is not between -1000 and 1000"},
		{header + "clientConnection: {burst: -1}", "clientConnection.burst: -1 is less than 0"},
		{header + "logging: {format: xml}", "logging.format: \"xml\" is neither text nor json"},
		{header + "hostnameOverride: ' '", "hostnameOverride: only blanks"},
	} {
		t.Run(c.text, func(t *testing.T) {
			d, err := Parse([]byte(c.text))
			if err == nil {
				_, err = d.Settings()
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("the error is:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	args := strings.Fields(`--kubeconfig=/etc/k --kube-api-qps 50 --kube-api-burst=100 --node-name Node-1 --bind-address 192.0.2.1
		--healthz-bind-address 0.0.0.0:1 --metrics-bind-address 0.0.0.0:0 --bind-address-hard-fail --profiling --proxy-mode nftables
		--detect-local-mode ClusterCIDR --cluster-cidr 10.0.0.0/8,fd00::/48 --nodeport-addresses 192.0.2.0/24,198.51.100.0/24 --masquerade-all
		--iptables-masquerade-bit 3 --iptables-sync-period 10s --oom-score-adj -5 --feature-gates AllowServiceExternalIPs=false
		--conntrack-max-per-core 1 --conntrack-min 2 --conntrack-tcp-timeout-established 3s --conntrack-tcp-timeout-close-wait 4s
		--conntrack-tcp-be-liberal --conntrack-udp-timeout 5s --conntrack-udp-timeout-stream 6s -v 3 --logging-format json
		--master https://192.0.2.9 --cluster-dns 10.96.0.10,fd00::10 --probe-dns dns/one,dns/two --allow-node-external-ips --manifests /dev/null --cleanup --init-only --version`)
	c, err := ParseCommand(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	checkSettings(t, c.Settings, Settings{
		NodeName: "node-1", NodeIP: netip.MustParseAddr("192.0.2.1"), Kubeconfig: "/etc/k", QPS: 50, Burst: 100,
		Pods: proxy.Detector{Prefixes: prefixes("10.0.0.0/8", "fd00::/48")}, NodePorts: prefixes("192.0.2.0/24", "198.51.100.0/24"),
		MasqueradeAll: true, NoExternalIPs: true, MasqueradeBit: 3, Healthz: "0.0.0.0:1", HardFail: true, Profiling: true,
		SyncPeriod: 10 * time.Second, OOMScoreAdj: -5, JSONLog: true, Verbosity: 3,
		Sysctls: Sysctls{ConntrackMaxPerCore: 1, ConntrackMin: 2, TCPEstablished: 3 * time.Second, TCPCloseWait: 4 * time.Second, UDP: 5 * time.Second, UDPStream: 6 * time.Second, TCPBeLiberal: true},
	})
	c.Settings = nil
	want := Command{
		Master: "https://192.0.2.9", ClusterDNS: []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00::10")},
		ProbeDNS:     []cluster.Key{{Namespace: "dns", Name: "one"}, {Namespace: "dns", Name: "two"}},
		AllowNodeIPs: true, Manifests: "/dev/null", Cleanup: true, InitOnly: true, Version: true,
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("the command is %+v\nwant %+v", *c, want)
	}
}

// TestFlagsBesideAFile: kubeadm's DaemonSet runs kube-proxy with --config and --hostname-override.
func TestFlagsBesideAFile(t *testing.T) {
	c, err := ParseCommand([]string{"--config=testdata/kubeadm.yaml", "--hostname-override=n1", "--cluster-cidr=10.9.0.0/16", "-v=2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.NodeName, want.Verbosity = "n1", 2
	want.Kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf"
	want.Pods.Prefixes = prefixes("10.244.0.0/16")
	want.Notes = []string{"--cluster-cidr: has no effect beside --config"}
	if kubeDNS := []cluster.Key{{Namespace: "kube-system", Name: "kube-dns"}}; !reflect.DeepEqual(c.ProbeDNS, kubeDNS) {
		t.Errorf("asks the endpoints of %v, want %v", c.ProbeDNS, kubeDNS)
	}
	if none, err := ParseCommand([]string{"--config=testdata/kubeadm.yaml", "--probe-dns="}, io.Discard); err != nil || none.ProbeDNS != nil {
		t.Errorf("asks the endpoints of %v, want none; error %v", none.ProbeDNS, err)
	}
	checkSettings(t, c.Settings, want)
}

// TestFlagsOfOtherModes: scripts of clusters name flags of all modes, and leave some empty.
func TestFlagsOfOtherModes(t *testing.T) {
	c, err := ParseCommand([]string{
		"--ipvs-sync-period=1m", "--ipvs-strict-arp", "--vmodule=", "--iptables-localhost-nodeports=false", "--nodeport-addresses=", "--feature-gates=", "--cluster-dns=",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--ipvs-strict-arp: has no effect here", "--ipvs-sync-period: has no effect here", "--vmodule: has no effect here"}
	if !slices.Equal(c.Settings.Notes, want) {
		t.Errorf("notes are %q, want %q", c.Settings.Notes, want)
	}
	if len(c.Settings.NodePorts) > 0 || len(c.ClusterDNS) > 0 {
		t.Errorf("of empty texts there are %v and %v", c.Settings.NodePorts, c.ClusterDNS)
	}
}

func TestCommandLineErrors(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte(header+"mode: ipvs\noomScoreAdj: 2000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"--nope", "command line: flag provided but not defined: -nope; see --help"},
		{"nope", "command line: what is \"nope\"? Flags begin with --"},
		{"--kube-api-burst x", "command line: invalid value \"x\" for flag -kube-api-burst: strconv.ParseInt: parsing \"x\": invalid syntax; see --help"},
		{"--probe-dns kube-dns", "command line: invalid value \"kube-dns\" for flag -probe-dns: \"kube-dns\" is not NAMESPACE/NAME; see --help"},
		{"--cluster-dns 10.96.0.10,x", "command line: invalid value \"10.96.0.10,x\" for flag -cluster-dns: \"x\" is not an IP address; see --help"},
		{"--feature-gates A=maybe", "command line: invalid value \"A=maybe\" for flag -feature-gates: \"A=maybe\" is not NAME=true or NAME=false; see --help"},
		{"--iptables-localhost-nodeports", "command line: iptables.localhostNodePorts: not supported: it would open the node's loopback addresses to its neighbours (CVE-2020-8558); set it to false"},
		{"--proxy-mode ipvs", "command line: mode: ipvs is not supported; set it to nftables, or leave it empty"},
		{"--config /nonexistent/file", "read the configuration: open /nonexistent/file: no such file or directory"},
		{"--config " + broken, broken + ": mode: ipvs is not supported; set it to nftables, or leave it empty\n" + broken + ": oomScoreAdj: 2000 is not between -1000 and 1000"},
	} {
		if _, err := ParseCommand(strings.Fields(c.args), io.Discard); err == nil || err.Error() != c.want {
			t.Errorf("%s: the error is:\n%v\nwant:\n%s", c.args, err, c.want)
		}
	}
	var help strings.Builder
	if _, err := ParseCommand([]string{"--help"}, &help); !errors.Is(err, ErrHelp) || !strings.Contains(help.String(), "-nodeport-addresses RANGES") {
		t.Errorf("--help: %v, and prints:\n%s", err, help.String())
	}
}

// FuzzParse: whatever a file says, it is read or refused.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"testdata/kubeadm.yaml", "testdata/kubeadm.effective.json"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(header + "nodePortAddresses: [primary]\nclusterCIDR: ::/0,0.0.0.0/0\nhealthzBindAddress: '[::]'"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		s, err := d.Settings()
		if err != nil {
			return
		}
		again, err := s.Effective.Settings()
		if err != nil {
			t.Fatalf("with its defaults the document is refused: %v", err)
		}
		again.Notes, s.Notes = nil, nil
		if !reflect.DeepEqual(again.Effective, s.Effective) {
			t.Errorf("the defaults of the defaults differ:\n%+v\n%+v", again.Effective, s.Effective)
		}
	})
}
