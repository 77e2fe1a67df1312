package kubernetes

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/records"
	"github.com/waypost/waypost/watch/selector"
)

// Options are what a kubernetes directive says. Parse fills in the defaults.
type Options struct {
	Zones        config.Zones // the zones it answers; default: those of its server block
	Multicluster config.Zones // those of Zones that hold ServiceImports (multicluster)
	Fallthrough  config.Zones // names in these go on to the next directive where they do not exist; default none
	TTL          uint32       // seconds, 0 to 3600; default 5
	Pods         records.PodMode

	PodNames    bool // endpoint_pod_names
	NoEndpoints bool // noendpoints
	IgnoreEmpty bool // ignore empty_service
	Zonal       bool // zonal

	Namespaces      []string // namespaces; default all
	Labels          string   // labels, a label selector; default all
	NamespaceLabels string   // namespace_labels, a label selector; default all

	// Where the cluster is read from: one of Manifests, Kubeconfig, Endpoint, else the Pod's own service account.
	Manifests   string // manifests: a file or folder
	Kubeconfig  string // kubeconfig: a file
	Context     string // its context; default the file's current one
	Endpoint    string // endpoint: a URL
	Certificate string // tls, with Endpoint: the client's certificate, key and the server's CA, three files
	Key         string
	Authority   string

	StartupTimeout time.Duration // how long the start waits for the first full state, 0 not at all; default 5 s
	QPS            float32       // apiserver_qps: requests a second; default 0, the source's own limit
	Burst          int           // apiserver_burst: that may be exceeded by; default 0, the source's own
	MaxInflight    int           // apiserver_max_inflight: requests at a time; default 0, no limit

	Warnings []config.Warning // what is legal and surely not meant
}

// Meaning tells directives from each other that do not mean the same, together with what is in Files.
func (o Options) Meaning() string {
	o.Warnings = nil
	return fmt.Sprintf("%#v", o)
}

// Files are those that are read once. The others, of Manifests, are followed.
func (o Options) Files() []string {
	return slices.DeleteFunc([]string{o.Kubeconfig, o.Certificate, o.Key, o.Authority}, func(name string) bool { return name == "" })
}

// Defaults, as CoreDNS has them.
const (
	defaultTTL            = 5
	maxTTL                = 3600
	defaultStartupTimeout = 5 * time.Second
)

// Parse reads a kubernetes directive of a block. Errors are in CoreDNS's words, with file and line where CoreDNS has them.
func Parse(block *config.Block, d *config.Directive) (Options, error) {
	o := Options{TTL: defaultTTL, StartupTimeout: defaultStartupTimeout}
	in := d.Dispenser()
	for once := false; in.Next(); once = true {
		if once {
			return o, config.ErrOnce
		}
		var dropped []string
		o.Zones, dropped = block.ZonesOr(in.RemainingArgs())
		o.Warnings = append(o.Warnings, config.At(in).LeftOut(dropped)...)
		if !slices.ContainsFunc(o.Zones, func(zone string) bool { return !config.Reverse(zone) }) {
			return o, errors.New("non-reverse zone name must be used")
		}
		for in.NextBlock() {
			if err := o.option(in); err != nil {
				return o, err
			}
		}
		if err := o.check(in); err != nil {
			return o, err
		}
	}
	return o, nil
}

// option reads one line of the block.
func (o *Options) option(in *caddyfile.Dispenser) error {
	name, args := in.Val(), in.RemainingArgs()
	arity, known := arities[name]
	switch {
	case !known:
		return in.Errf("unknown property '%s'", name)
	case len(args) < arity.least || arity.most >= 0 && len(args) > arity.most:
		return in.ArgErr()
	}
	switch name {
	case "endpoint_pod_names":
		o.PodNames = true
	case "noendpoints":
		o.NoEndpoints = true
	case "zonal":
		o.Zonal = true
	case "ignore":
		return o.ignore(args)
	case "pods":
		return o.pods(args[0])
	case "namespaces":
		o.Namespaces = append(o.Namespaces, args...)
	case "fallthrough":
		zones, dropped := config.ParseFallthrough(args)
		o.Fallthrough = zones
		o.Warnings = append(o.Warnings, config.At(in).LeftOut(dropped)...)
	case "multicluster":
		zones, dropped := config.ParseZones(args)
		o.Multicluster = zones
		o.Warnings = append(o.Warnings, config.At(in).LeftOut(dropped)...)
	case "labels":
		return parseSelector("label", args, &o.Labels)
	case "namespace_labels":
		return parseSelector("namespace_label", args, &o.NamespaceLabels)
	case "ttl", "startup_timeout":
		return o.time(in, name, args[0])
	case "apiserver_qps", "apiserver_burst", "apiserver_max_inflight":
		return o.limit(in, name, args[0])
	default:
		o.source(in, name, args)
	}
	return nil
}

// arities are how many arguments each option takes; most -1 is any number.
var arities = map[string]struct{ least, most int }{
	"endpoint_pod_names": {0, 0}, "noendpoints": {0, 0}, "zonal": {0, 0},
	"ignore": {0, -1}, "pods": {1, 1}, "namespaces": {1, -1}, "fallthrough": {0, -1}, "multicluster": {0, -1},
	"labels": {1, -1}, "namespace_labels": {1, -1}, "ttl": {1, -1}, "startup_timeout": {1, -1},
	"apiserver_qps": {1, 1}, "apiserver_burst": {1, 1}, "apiserver_max_inflight": {1, 1},
	"endpoint": {1, -1}, "tls": {3, 3}, "kubeconfig": {1, 2}, "manifests": {1, 1},
}

func (o *Options) ignore(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if args[0] != "empty_service" {
		return fmt.Errorf("unable to parse ignore value: '%v'", args[0])
	}
	o.IgnoreEmpty = true
	return nil
}

func (o *Options) pods(mode string) error {
	switch mode {
	case "disabled":
		o.Pods = records.PodsDisabled
	case "insecure":
		o.Pods = records.PodsInsecure
	case "verified":
		o.Pods = records.PodsVerified
	default:
		return fmt.Errorf("wrong value for pods: %s,  must be one of: disabled, verified, insecure", mode)
	}
	return nil
}

func parseSelector(what string, args []string, to *string) error {
	text := strings.Join(args, " ")
	parsed, err := selector.Parse(text)
	if err != nil {
		return fmt.Errorf("unable to parse %s selector value: '%v': %w", what, text, err)
	}
	*to = parsed
	return nil
}

func (o *Options) time(in *caddyfile.Dispenser, name, arg string) error {
	if name == "ttl" {
		ttl, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		if ttl < 0 || ttl > maxTTL {
			return in.Errf("ttl must be in range [0, %d]: %d", maxTTL, ttl)
		}
		o.TTL = uint32(ttl)
		return nil
	}
	timeout, err := time.ParseDuration(arg)
	if err != nil {
		return fmt.Errorf("failed to parse startup_timeout: %v, %w", arg, err)
	}
	o.StartupTimeout = max(0, timeout)
	return nil
}

func (o *Options) limit(in *caddyfile.Dispenser, name, arg string) error {
	value, err := strconv.ParseFloat(arg, 32)
	if name != "apiserver_qps" && err == nil {
		_, err = strconv.Atoi(arg)
	}
	switch {
	case err != nil:
		return in.Errf("invalid %s %q: %v", name, arg, err)
	case value < 0:
		return in.Errf("%s must be >= 0", name)
	case name == "apiserver_qps":
		o.QPS = float32(value)
	case name == "apiserver_burst":
		o.Burst = int(value)
	default:
		o.MaxInflight = int(value)
	}
	return nil
}

func (o *Options) source(in *caddyfile.Dispenser, name string, args []string) {
	switch name {
	case "manifests":
		o.Manifests = args[0]
	case "kubeconfig":
		o.Kubeconfig, o.Context = args[0], strings.Join(args[1:], "")
	case "tls":
		o.Certificate, o.Key, o.Authority = args[0], args[1], args[2]
	case "endpoint":
		o.Endpoint = args[0]
		if len(args) > 1 {
			o.Warnings = append(o.Warnings, config.At(in).Warningf("Multiple endpoints have been deprecated, only the first specified endpoint '%s' is used", args[0]))
		}
	}
}

// check refuses options that contradict each other.
func (o *Options) check(in *caddyfile.Dispenser) error {
	if len(o.Namespaces) > 0 && o.NamespaceLabels != "" {
		return in.Errf("namespaces and namespace_labels cannot both be set")
	}
	for _, zone := range o.Multicluster {
		if !slices.Contains(o.Zones, zone) {
			return in.Errf("is not authoritative for the multicluster zone %s (authoritative zones: %v)", zone, []string(o.Zones))
		}
	}
	if o.Zonal && o.NoEndpoints {
		return in.Errf("zonal requires the endpoint cache; remove noendpoints")
	}
	if o.Manifests != "" && (o.Kubeconfig != "" || o.Endpoint != "") {
		return in.Errf("manifests cannot be set together with kubeconfig or endpoint: the cluster is read from one place")
	}
	return nil
}
