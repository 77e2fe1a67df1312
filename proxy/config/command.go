package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/waypost/waypost/cluster"
)

// Command is a command line, with the file it names.
type Command struct {
	Settings *Settings
	// ConfigFile is the path of the file, "" for none. kube-proxy ends when its file changes, to be started anew.
	ConfigFile string
	// ConfigText is what was in it.
	ConfigText []byte
	// Master is the API server's URL, in place of the kubeconfig's; "" leaves that.
	Master string
	// Manifests is a file or a folder to be read in place of an API server.
	Manifests string
	// ClusterDNS are addresses that no external IP may have.
	ClusterDNS []netip.Addr
	// ProbeDNS are the Services whose endpoints this node asks itself, and leaves out while they do not answer.
	ProbeDNS []cluster.Key
	// AllowNodeIPs lets external IPs be addresses of nodes.
	AllowNodeIPs bool
	// Cleanup removes all routes and ends.
	Cleanup bool
	// InitOnly does what needs full privileges and ends.
	InitOnly bool
	// Version prints the version and ends.
	Version bool
}

// ErrHelp is returned where the command line asked for help, which has been printed then.
var ErrHelp = flag.ErrHelp

// ParseCommand reads a command line without the program's name, and the file that --config names. Help goes to out.
func ParseCommand(args []string, out io.Writer) (*Command, error) {
	c, d := &Command{ProbeDNS: []cluster.Key{{Namespace: "kube-system", Name: "kube-dns"}}}, &Document{}
	set := c.flags(d)
	set.SetOutput(io.Discard) // it would print all flags with each error
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		set.SetOutput(out)
		fmt.Fprintln(out, "waypost-proxy [FLAG]...          keep this node's routes to Services\nwaypost-proxy check [FLAG]...    say whether these flags could be used\nwaypost-proxy routes [FLAG]...   say where they lead\nwaypost-proxy cleanup [WHOSE]    take them away\n\nFlags:")
		set.PrintDefaults()
		return nil, ErrHelp
	} else if err != nil {
		return nil, fmt.Errorf("command line: %w; see --help", err)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("command line: what is %q? Flags begin with --", set.Arg(0))
	}
	source := "command line"
	var ignored []string
	set.Visit(func(f *flag.Flag) {
		if _, known := withoutEffect[f.Name]; known {
			ignored = append(ignored, "--"+f.Name+": has no effect here")
		}
	})
	if c.ConfigFile != "" {
		file, err := c.readFile()
		if err != nil {
			return nil, err
		}
		ignored = append(ignored, file.override(set, d)...)
		d, source = file, c.ConfigFile
	}
	s, err := d.Settings()
	if err != nil {
		return nil, prefixed(source, err)
	}
	s.Notes = append(ignored, s.Notes...)
	c.Settings = s
	return c, nil
}

func (c *Command) readFile() (*Document, error) {
	var err error
	if c.ConfigText, err = os.ReadFile(c.ConfigFile); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	d, err := Parse(c.ConfigText)
	if err != nil {
		return nil, prefixed(c.ConfigFile, err)
	}
	return d, nil
}

// prefixed puts source before each line of err.
func prefixed(source string, err error) error {
	lines := strings.Split(err.Error(), "\n")
	return errors.New(source + ": " + strings.Join(lines, "\n"+source+": "))
}

// override takes over from the flags what kube-proxy lets them say beside a file, and returns notes about the others.
func (d *Document) override(set *flag.FlagSet, flags *Document) (notes []string) {
	set.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "hostname-override", "node-name":
			d.HostnameOverride = flags.HostnameOverride
		case "v":
			d.Logging.Verbosity = flags.Logging.Verbosity
		case "logging-format":
			d.Logging.Format = flags.Logging.Format
		case "config", "master", "manifests", "cluster-dns", "probe-dns", "allow-node-external-ips", "cleanup", "init-only", "version":
		default:
			if _, known := withoutEffect[f.Name]; !known {
				notes = append(notes, "--"+f.Name+": has no effect beside --config")
			}
		}
	})
	return notes
}

// flags returns the flags, which write into c and d.
func (c *Command) flags(d *Document) *flag.FlagSet {
	set := flag.NewFlagSet("waypost-proxy", flag.ContinueOnError)
	set.StringVar(&c.ConfigFile, "config", "", "the configuration `FILE`, as kube-proxy's; other flags have no effect then, but for those that say so")
	set.StringVar(&c.Master, "master", "", "the `URL` of the API server, in place of the kubeconfig's; also beside --config")
	set.StringVar(&c.Manifests, "manifests", "", "a `PATH` of manifests to read in place of an API server; also beside --config")
	set.Func("cluster-dns", "`ADDRESSES`, with commas between them, that no external IP of a Service may have; also beside --config", func(text string) error {
		return c.parseClusterDNS(text)
	})
	set.Func("probe-dns", "`SERVICES` of the cluster's DNS, NAMESPACE/NAME with commas between them, whose endpoints this node asks itself, and leaves out "+
		"while they do not answer; \"\" is none (default kube-system/kube-dns); also beside --config", c.parseProbeDNS)
	set.BoolVar(&c.AllowNodeIPs, "allow-node-external-ips", false, "let external IPs of Services be addresses of nodes; also beside --config")
	set.BoolVar(&c.Cleanup, "cleanup", false, "remove all routes, and what kube-proxy has left behind, and end, as waypost-proxy cleanup does")
	set.BoolVar(&c.InitOnly, "init-only", false, "set the sysctls, which needs full privileges, and end")
	set.BoolVar(&c.Version, "version", false, "print the version and end")
	for _, name := range []string{"hostname-override", "node-name"} {
		set.StringVar(&d.HostnameOverride, name, "", "the `NAME` of the Node this is, in place of the host's; also beside --config")
	}
	d.clientFlags(set)
	d.listenFlags(set)
	d.routeFlags(set)
	d.conntrackFlags(set)
	for name, isBool := range withoutEffect {
		if accept := func(string) error { return nil }; isBool {
			set.BoolFunc(name, acceptedOnly, accept)
		} else {
			set.Func(name, acceptedOnly, accept)
		}
	}
	return set
}

// withoutEffect are flags of kube-proxy's that clusters' manifests have in any mode, with whether they are switches: those of its
// mode ipvs, and how its log is written.
var withoutEffect = map[string]bool{
	"ipvs-sync-period": false, "ipvs-min-sync-period": false, "ipvs-scheduler": false, "ipvs-exclude-cidrs": false, "ipvs-strict-arp": true,
	"ipvs-tcp-timeout": false, "ipvs-tcpfin-timeout": false, "ipvs-udp-timeout": false, "show-hidden-metrics-for-version": false,
	"vmodule": false, "log-flush-frequency": false, "log-text-split-stream": true, "log-text-info-buffer-size": false,
	"log-json-split-stream": true, "log-json-info-buffer-size": false,
}

const acceptedOnly = "accepted for kube-proxy's sake: no effect"

func (c *Command) parseClusterDNS(text string) error {
	for part := range list(text) {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not an IP address", part)
		}
		c.ClusterDNS = append(c.ClusterDNS, a.Unmap())
	}
	return nil
}

func (c *Command) parseProbeDNS(text string) error {
	c.ProbeDNS = nil
	for part := range list(text) {
		namespace, name, ok := strings.Cut(strings.TrimSpace(part), "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("%q is not NAMESPACE/NAME", part)
		}
		c.ProbeDNS = append(c.ProbeDNS, cluster.Key{Namespace: namespace, Name: name})
	}
	return nil
}

func (d *Document) clientFlags(set *flag.FlagSet) {
	set.StringVar(&d.ClientConnection.Kubeconfig, "kubeconfig", "", "the `FILE` that says how to reach the API server; without it, the Pod's own account does")
	set.StringVar(&d.ClientConnection.ContentType, "kube-api-content-type", "", "accepted for kube-proxy's sake: Waypost asks for protobuf where there is one")
	set.Func("kube-api-qps", "how many requests a second the API server may be sent in the long run (default 5)", func(text string) error {
		qps, err := strconv.ParseFloat(text, 32)
		d.ClientConnection.QPS = float32(qps)
		return err
	})
	set.Func("kube-api-burst", "how many requests may be sent at once (default 10)", func(text string) error {
		return parseInt(&d.ClientConnection.Burst, text)
	})
	set.Func("v", "how much to log: 2 and more is everything (default 0); also beside --config", func(text string) error {
		v, err := strconv.ParseUint(text, 10, 31)
		d.Logging.Verbosity = uint32(v)
		return err
	})
	set.StringVar(&d.Logging.Format, "logging-format", "", "text or json (default text); also beside --config")
	set.Func("config-sync-period", "accepted for kube-proxy's sake: watches need no refreshing", duration(&d.ConfigSyncPeriod))
	set.Func("oom-score-adj", "how soon the kernel may end this process when memory runs out, -1000 to 1000 (default -999)", number(&d.OOMScoreAdj))
	set.Func("feature-gates", "`NAME=true|false,...`; only "+externalIPsGate+" has an effect", d.parseGates)
}

func (d *Document) listenFlags(set *flag.FlagSet) {
	set.StringVar(&d.HealthzBindAddress, "healthz-bind-address", "", "`ADDRESS:PORT` of /healthz and /livez; port 0 is none (default 0.0.0.0:10256)")
	set.StringVar(&d.MetricsBindAddress, "metrics-bind-address", "", "`ADDRESS:PORT` of /metrics, /healthz, /proxyMode, /configz and /routes; port 0 is none (default 127.0.0.1:10249)")
	set.BoolVar(&d.BindAddressHardFail, "bind-address-hard-fail", false, "end where an address cannot be listened on")
	set.BoolVar(&d.EnableProfiling, "profiling", false, "serve /debug/pprof beside the metrics")
}

func (d *Document) routeFlags(set *flag.FlagSet) {
	set.StringVar(&d.Mode, "proxy-mode", "", "nftables, the only one and the default")
	set.StringVar(&d.BindAddress, "bind-address", "", "the node's `ADDRESS`, in place of the Node object's; nothing is bound to it (default 0.0.0.0)")
	set.StringVar(&d.DetectLocalMode, "detect-local-mode", "", "how Pods are recognised: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix (default ClusterCIDR)")
	set.StringVar(&d.ClusterCIDR, "cluster-cidr", "", "the `RANGE` of the Pods' addresses, or one of each family with a comma between them")
	set.StringVar(&d.DetectLocal.BridgeInterface, "pod-bridge-interface", "", "the `NAME` of the bridge that Pods are behind")
	set.StringVar(&d.DetectLocal.InterfaceNamePrefix, "pod-interface-name-prefix", "", "what the names of the Pods' interfaces begin with")
	set.Func("nodeport-addresses", "`RANGES`, with commas between them, of local addresses on which NodePorts are open, or primary; unset is all of them", func(text string) error {
		d.NodePortAddresses = slices.AppendSeq(d.NodePortAddresses, list(text))
		return nil
	})
	set.BoolFunc("masquerade-all", "masquerade all connections to ClusterIPs", func(text string) error {
		all, err := strconv.ParseBool(text)
		d.IPTables.MasqueradeAll, d.NFTables.MasqueradeAll = all, all
		return err
	})
	set.Func("iptables-masquerade-bit", "the bit, 0 to 31, in packets' marks that says they are to be masqueraded (default 14)", func(text string) error {
		err := number(&d.IPTables.MasqueradeBit)(text)
		d.NFTables.MasqueradeBit = d.IPTables.MasqueradeBit
		return err
	})
	set.BoolFunc("iptables-localhost-nodeports", "true is an error: NodePorts are never open on loopback addresses", func(text string) error {
		open, err := strconv.ParseBool(text)
		d.IPTables.LocalhostNodePorts = &open
		return err
	})
	set.Func("iptables-sync-period", "how often a change that failed is tried again at least (default 30s)", both(&d.IPTables.SyncPeriod, &d.NFTables.SyncPeriod))
	set.Func("iptables-min-sync-period", "accepted for kube-proxy's sake: changes are applied at once", both(&d.IPTables.MinSyncPeriod, &d.NFTables.MinSyncPeriod))
}

func (d *Document) conntrackFlags(set *flag.FlagSet) {
	t := &d.Conntrack
	set.Func("conntrack-max-per-core", "how many flows may be tracked per CPU, 0 to leave the limit alone (default 32768)", number(&t.MaxPerCore))
	set.Func("conntrack-min", "how many may be tracked at least (default 131072)", number(&t.Min))
	set.Func("conntrack-tcp-timeout-established", "how long idle TCP connections are tracked, 0 to leave it alone (default 24h)", pointer(&t.TCPEstablishedTimeout))
	set.Func("conntrack-tcp-timeout-close-wait", "how long half-closed ones are, likewise (default 1h)", pointer(&t.TCPCloseWaitTimeout))
	set.BoolVar(&t.TCPBeLiberal, "conntrack-tcp-be-liberal", false, "do not take TCP packets outside the window for invalid")
	set.Func("conntrack-udp-timeout", "how long UDP flows without an answer are tracked, 0 to leave it alone", duration(&t.UDPTimeout))
	set.Func("conntrack-udp-timeout-stream", "how long answered ones are, likewise", duration(&t.UDPStreamTimeout))
}

func (d *Document) parseGates(text string) error {
	if d.FeatureGates == nil {
		d.FeatureGates = map[string]bool{}
	}
	for part := range list(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is not NAME=true or NAME=false", part)
		}
		d.FeatureGates[name] = on
	}
	return nil
}

// list goes through what has commas between it. Of an empty text, as templates write it, there is nothing.
func list(text string) iter.Seq[string] {
	if text == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(text, ",")
}

func parseInt(field *int32, text string) error {
	n, err := strconv.ParseInt(text, 10, 32)
	*field = int32(n)
	return err
}

func number(field **int32) func(string) error {
	return func(text string) error {
		*field = new(int32)
		return parseInt(*field, text)
	}
}

func duration(field *Duration) func(string) error {
	return func(text string) error {
		*field = Duration(text)
		return nil
	}
}

func pointer(field **Duration) func(string) error {
	return func(text string) error {
		value := Duration(text)
		*field = &value
		return nil
	}
}

func both(a, b *Duration) func(string) error {
	return func(text string) error {
		*a, *b = Duration(text), Duration(text)
		return nil
	}
}
