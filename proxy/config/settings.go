package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waypost/waypost/proxy"
)

// Settings are what a Document says, checked and complete.
type Settings struct {
	// NodeName is the Node the process runs on; "" leaves it to the host's name.
	NodeName string
	// NodeIP is the node's address in place of the Node object's; unspecified for none.
	NodeIP netip.Addr
	// Kubeconfig is the file that says how to reach the API server; "" where the Pod's own account does.
	Kubeconfig string
	// QPS and Burst bound requests to the API server; both 0 is no limit.
	QPS   float32
	Burst int

	// Pods recognises Pods; PodsOfNode does so by the Node's Pod ranges.
	Pods       proxy.Detector
	PodsOfNode bool
	// NodePorts are where NodePorts are open, and NodePortsPrimary opens them on the node's own addresses.
	NodePorts        []netip.Prefix
	NodePortsPrimary bool
	MasqueradeAll    bool
	NoExternalIPs    bool
	// MasqueradeBit is the bit, 0 to 31, of a packet's mark that says "masquerade".
	MasqueradeBit int

	// Healthz and Metrics are addresses to listen on, as net.Listen takes them; "" for none.
	Healthz, Metrics string
	// HardFail ends the process where it cannot listen on them.
	HardFail  bool
	Profiling bool
	// SyncPeriod is how often a failed change is tried again at least. What waits for twice as long is unhealthy.
	SyncPeriod  time.Duration
	OOMScoreAdj int
	Sysctls     Sysctls
	JSONLog     bool
	Verbosity   uint32
	// Notes are what was said and has no effect.
	Notes []string
	// Effective is the document with its defaults, as /configz shows it.
	Effective Document
}

// Sysctls are those of net.netfilter that the file sets; 0 leaves one as it is.
type Sysctls struct {
	ConntrackMaxPerCore, ConntrackMin int
	TCPEstablished, TCPCloseWait      time.Duration
	UDP, UDPStream                    time.Duration
	TCPBeLiberal                      bool
}

// checker collects what is wrong, by field.
type checker struct {
	flaws []error
	notes []string
}

func (c *checker) bad(field, format string, args ...any) {
	c.flaws = append(c.flaws, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

func (c *checker) note(field, text string) { c.notes = append(c.notes, field+": "+text) }

// Settings makes d into settings. The error has one line for each field that is wrong.
func (d *Document) Settings() (*Settings, error) {
	full := d.withDefaults()
	c := &checker{}
	s := &Settings{
		NodeName: strings.ToLower(strings.TrimSpace(d.HostnameOverride)), Kubeconfig: full.ClientConnection.Kubeconfig,
		HardFail: d.BindAddressHardFail, Profiling: d.EnableProfiling, Verbosity: d.Logging.Verbosity, OOMScoreAdj: int(*full.OOMScoreAdj),
		NoExternalIPs: d.externalIPsOff(c),
	}
	if d.HostnameOverride != "" && s.NodeName == "" {
		c.bad("hostnameOverride", "only blanks")
	}
	full.checkMode(c)
	full.client(s, c)
	full.addresses(s, c)
	full.detect(s, c)
	full.nodePorts(s, c)
	full.masquerade(s, c)
	full.sysctls(s, c)
	full.periods(s, c)
	if s.OOMScoreAdj < -1000 || s.OOMScoreAdj > 1000 {
		c.bad("oomScoreAdj", "%d is not between -1000 and 1000", s.OOMScoreAdj)
	}
	if format := d.Logging.Format; format != "" && format != "text" && format != "json" {
		c.bad("logging.format", "%q is neither text nor json", format)
	} else {
		s.JSONLog = format == "json"
	}
	s.Effective, s.Notes = full, c.notes
	return s, errors.Join(c.flaws...)
}

// checkMode refuses what would need another dialect than nftables, and what only Windows has.
func (d *Document) checkMode(c *checker) {
	switch d.Mode {
	case modeNFTables, "":
	case "iptables", "ipvs":
		c.bad("mode", "%s is not supported; set it to nftables, or leave it empty", d.Mode)
	default:
		c.bad("mode", "%q is not a mode; set it to nftables, or leave it empty", d.Mode)
	}
	if d.IPTables.LocalhostNodePorts != nil && *d.IPTables.LocalhostNodePorts && d.Mode == "" {
		c.bad("iptables.localhostNodePorts", "not supported: it would open the node's loopback addresses to its neighbours (CVE-2020-8558); set it to false")
	}
	if d.WindowsRunAsService {
		c.bad("windowsRunAsService", "not supported: this is not Windows")
	}
	if d.Winkernel != (Winkernel{}) {
		c.note("winkernel", "has no effect: this is not Windows")
	}
	if d.PortRange != "" {
		c.note("portRange", "has no effect, and has none in kube-proxy")
	}
	if d.ShowHiddenMetrics != "" {
		c.note("showHiddenMetricsForVersion", "has no effect: no metric is hidden")
	}
}

const modeNFTables = "nftables"

// externalIPsGate is the one feature gate that says something here.
const externalIPsGate = "AllowServiceExternalIPs"

func (d *Document) externalIPsOff(c *checker) bool {
	for _, gate := range sortedKeys(d.FeatureGates) {
		if gate != externalIPsGate {
			c.note("featureGates."+gate, "has no effect here")
		}
	}
	on, said := d.FeatureGates[externalIPsGate]
	return said && !on
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (d *Document) client(s *Settings, c *checker) {
	if d.ClientConnection.Burst < 0 {
		c.bad("clientConnection.burst", "%d is less than 0", d.ClientConnection.Burst)
	}
	s.QPS, s.Burst = d.ClientConnection.QPS, int(d.ClientConnection.Burst)
	if s.QPS < 0 { // client-go's way to lift the limit
		s.QPS, s.Burst = 0, 0
	}
}

func (d *Document) addresses(s *Settings, c *checker) {
	var err error
	if s.NodeIP, err = netip.ParseAddr(d.BindAddress); err != nil {
		c.bad("bindAddress", "%q is not an IP address", d.BindAddress)
	}
	s.Healthz = checkListen(c, "healthzBindAddress", d.HealthzBindAddress, healthzPort)
	s.Metrics = checkListen(c, "metricsBindAddress", d.MetricsBindAddress, metricsPort)
}

// checkListen reads ADDRESS or ADDRESS:PORT. Port 0 is no listener at all.
func checkListen(c *checker, field, text string, port int) string {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return net.JoinHostPort(a.String(), strconv.Itoa(port))
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		c.bad(field, "%q is not ADDRESS:PORT", text)
		return ""
	}
	if _, err := netip.ParseAddr(host); err != nil {
		c.bad(field, "%q is not an IP address", host)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		c.bad(field, "%q is not a port", number)
	}
	if n == 0 {
		return ""
	}
	return text
}

func (d *Document) detect(s *Settings, c *checker) {
	switch d.DetectLocalMode {
	case detectClusterCIDR:
		s.Pods.Prefixes = d.clusterCIDRs(c)
	case "NodeCIDR":
		s.PodsOfNode = true
	case "BridgeInterface":
		s.Pods.Interface = d.interfaceName(c, "detectLocal.bridgeInterface", d.DetectLocal.BridgeInterface)
	case "InterfaceNamePrefix":
		s.Pods.InterfacePrefix = d.interfaceName(c, "detectLocal.interfaceNamePrefix", d.DetectLocal.InterfaceNamePrefix)
	default:
		c.bad("detectLocalMode", "%q is none of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix", d.DetectLocalMode)
	}
}

const detectClusterCIDR = "ClusterCIDR"

// interfaceName reads the name of an interface, or what it begins with, that detectLocalMode needs.
func (d *Document) interfaceName(c *checker, field, name string) string {
	const longest = 15 // IFNAMSIZ, less the zero at the end
	if name == "" {
		c.bad(field, "detectLocalMode %s needs it", d.DetectLocalMode)
	} else if len(name) > longest {
		c.bad(field, "%q is longer than the name of an interface can be, %d", name, longest)
	}
	return name
}

// clusterCIDRs reads the ranges of Pods: none, one, or one of each family.
func (d *Document) clusterCIDRs(c *checker) []netip.Prefix {
	if d.ClusterCIDR == "" {
		return nil
	}
	prefixes := c.prefixes("clusterCIDR", strings.Split(d.ClusterCIDR, ","))
	if len(prefixes) > 2 || len(prefixes) == 2 && prefixes[0].Addr().Is4() == prefixes[1].Addr().Is4() {
		c.bad("clusterCIDR", "%q is more than one range of a family", d.ClusterCIDR)
	}
	return prefixes
}

// prefixes reads a list of ranges, masked.
func (c *checker) prefixes(field string, texts []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for i, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			c.bad(fmt.Sprintf("%s[%d]", field, i), "%q is not a range of addresses, as in 10.244.0.0/16", text)
			continue
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes
}

func (d *Document) nodePorts(s *Settings, c *checker) {
	if len(d.NodePortAddresses) == 1 && d.NodePortAddresses[0] == primary {
		s.NodePortsPrimary = true
		return
	}
	if i := slices.Index(d.NodePortAddresses, primary); i >= 0 {
		c.bad(fmt.Sprintf("nodePortAddresses[%d]", i), "%s stands alone, or not at all", primary)
		return
	}
	s.NodePorts = c.prefixes("nodePortAddresses", d.NodePortAddresses)
}

const primary = "primary"

// masquerade takes the section of the mode: without one, kube-proxy's default is iptables, and files are written for that.
func (d *Document) masquerade(s *Settings, c *checker) {
	field, bit := "iptables.masqueradeBit", *d.IPTables.MasqueradeBit
	s.MasqueradeAll = d.IPTables.MasqueradeAll
	if d.Mode == modeNFTables {
		field, bit = "nftables.masqueradeBit", *d.NFTables.MasqueradeBit
		s.MasqueradeAll = d.NFTables.MasqueradeAll
	}
	if bit < 0 || bit > 31 {
		c.bad(field, "%d is not between 0 and 31", bit)
		return
	}
	s.MasqueradeBit = int(bit)
}

func (d *Document) sysctls(s *Settings, c *checker) {
	t := &d.Conntrack
	s.Sysctls = Sysctls{
		ConntrackMaxPerCore: int(*t.MaxPerCore), ConntrackMin: int(*t.Min), TCPBeLiberal: t.TCPBeLiberal,
		TCPEstablished: c.duration("conntrack.tcpEstablishedTimeout", *t.TCPEstablishedTimeout),
		TCPCloseWait:   c.duration("conntrack.tcpCloseWaitTimeout", *t.TCPCloseWaitTimeout),
		UDP:            c.duration("conntrack.udpTimeout", t.UDPTimeout),
		UDPStream:      c.duration("conntrack.udpStreamTimeout", t.UDPStreamTimeout),
	}
	if *t.MaxPerCore < 0 {
		c.bad("conntrack.maxPerCore", "%d is less than 0", *t.MaxPerCore)
	}
	if *t.Min < 0 {
		c.bad("conntrack.min", "%d is less than 0", *t.Min)
	}
}

func (d *Document) periods(s *Settings, c *checker) {
	c.duration("configSyncPeriod", d.ConfigSyncPeriod)
	section, period, pause := "iptables", d.IPTables.SyncPeriod, d.IPTables.MinSyncPeriod
	if d.Mode == modeNFTables {
		section, period, pause = modeNFTables, d.NFTables.SyncPeriod, d.NFTables.MinSyncPeriod
	}
	before := len(c.flaws)
	s.SyncPeriod = c.duration(section+".syncPeriod", period)
	if least := c.duration(section+".minSyncPeriod", pause); len(c.flaws) > before {
		return
	} else if least > s.SyncPeriod {
		c.bad(section+".minSyncPeriod", "%s is more than the syncPeriod, %s", least, s.SyncPeriod)
	} else if pause != defaultMinSync {
		c.note(section+".minSyncPeriod", "has no effect: changes are applied at once, and those that come meanwhile together")
	}
}

// duration reads one that is not negative.
func (c *checker) duration(field string, text Duration) time.Duration {
	if text == "" {
		return 0
	}
	value, err := time.ParseDuration(string(text))
	if err != nil {
		c.bad(field, "%q is not a duration, as in 1h30m or 10s", text)
	} else if value < 0 {
		c.bad(field, "%s is less than 0", text)
	}
	return value
}
