// Package config reads what waypost-proxy is told: kube-proxy's configuration file and its flags.
//
// A Document is the file as it is written, kubeproxy.config.k8s.io/v1alpha1; kubeadm keeps one in the ConfigMap "kube-proxy".
// Flags write into a Document too. Settings are what it all comes to, checked and with defaults; whatever is wrong, or asks
// for something that waypost-proxy does not do, is an error that names the field.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Document is a KubeProxyConfiguration. Fields that nil or "" leave to a default are empty until Settings are made of it.
type Document struct {
	APIVersion          string           `json:"apiVersion"`
	Kind                string           `json:"kind"`
	FeatureGates        map[string]bool  `json:"featureGates,omitempty"`
	ClientConnection    ClientConnection `json:"clientConnection"`
	Logging             Logging          `json:"logging"`
	HostnameOverride    string           `json:"hostnameOverride"`
	BindAddress         string           `json:"bindAddress"`
	HealthzBindAddress  string           `json:"healthzBindAddress"`
	MetricsBindAddress  string           `json:"metricsBindAddress"`
	BindAddressHardFail bool             `json:"bindAddressHardFail"`
	EnableProfiling     bool             `json:"enableProfiling"`
	ShowHiddenMetrics   string           `json:"showHiddenMetricsForVersion"`
	Mode                string           `json:"mode"`
	IPTables            IPTables         `json:"iptables"`
	IPVS                IPVS             `json:"ipvs"`
	NFTables            NFTables         `json:"nftables"`
	Winkernel           Winkernel        `json:"winkernel"`
	DetectLocalMode     string           `json:"detectLocalMode"`
	DetectLocal         DetectLocal      `json:"detectLocal"`
	ClusterCIDR         string           `json:"clusterCIDR"`
	NodePortAddresses   []string         `json:"nodePortAddresses"`
	OOMScoreAdj         *int32           `json:"oomScoreAdj"`
	Conntrack           Conntrack        `json:"conntrack"`
	ConfigSyncPeriod    Duration         `json:"configSyncPeriod"`
	PortRange           string           `json:"portRange"`
	WindowsRunAsService bool             `json:"windowsRunAsService,omitempty"`
}

// ClientConnection says how to reach the API server.
type ClientConnection struct {
	Kubeconfig         string  `json:"kubeconfig"`
	AcceptContentTypes string  `json:"acceptContentTypes"`
	ContentType        string  `json:"contentType"`
	QPS                float32 `json:"qps"`
	Burst              int32   `json:"burst"`
}

// Logging says what is printed, and how.
type Logging struct {
	Format         string          `json:"format,omitempty"`
	FlushFrequency json.RawMessage `json:"flushFrequency,omitempty"` // a number of nanoseconds or a duration
	Verbosity      uint32          `json:"verbosity"`
	VModule        json.RawMessage `json:"vmodule,omitempty"`
	Options        json.RawMessage `json:"options,omitempty"`
}

// IPTables is kube-proxy's section for its mode iptables, which is also what it does where no mode is named.
type IPTables struct {
	MasqueradeBit      *int32   `json:"masqueradeBit"`
	MasqueradeAll      bool     `json:"masqueradeAll"`
	LocalhostNodePorts *bool    `json:"localhostNodePorts"`
	SyncPeriod         Duration `json:"syncPeriod"`
	MinSyncPeriod      Duration `json:"minSyncPeriod"`
}

// IPVS is kube-proxy's section for its mode ipvs.
type IPVS struct {
	SyncPeriod    Duration `json:"syncPeriod"`
	MinSyncPeriod Duration `json:"minSyncPeriod"`
	Scheduler     string   `json:"scheduler"`
	ExcludeCIDRs  []string `json:"excludeCIDRs"`
	StrictARP     bool     `json:"strictARP"`
	TCPTimeout    Duration `json:"tcpTimeout"`
	TCPFinTimeout Duration `json:"tcpFinTimeout"`
	UDPTimeout    Duration `json:"udpTimeout"`
}

// NFTables is kube-proxy's section for its mode nftables.
type NFTables struct {
	MasqueradeBit *int32   `json:"masqueradeBit"`
	MasqueradeAll bool     `json:"masqueradeAll"`
	SyncPeriod    Duration `json:"syncPeriod"`
	MinSyncPeriod Duration `json:"minSyncPeriod"`
}

// Winkernel is kube-proxy's section for Windows.
type Winkernel struct {
	NetworkName           string `json:"networkName"`
	SourceVip             string `json:"sourceVip"`
	EnableDSR             bool   `json:"enableDSR"`
	RootHnsEndpointName   string `json:"rootHnsEndpointName"`
	ForwardHealthCheckVip bool   `json:"forwardHealthCheckVip"`
}

// DetectLocal has the names that two of the modes of detectLocalMode need.
type DetectLocal struct {
	BridgeInterface     string `json:"bridgeInterface"`
	InterfaceNamePrefix string `json:"interfaceNamePrefix"`
}

// Conntrack has the limits of the kernel's flow table.
type Conntrack struct {
	MaxPerCore            *int32    `json:"maxPerCore"`
	Min                   *int32    `json:"min"`
	TCPEstablishedTimeout *Duration `json:"tcpEstablishedTimeout"`
	TCPCloseWaitTimeout   *Duration `json:"tcpCloseWaitTimeout"`
	TCPBeLiberal          bool      `json:"tcpBeLiberal"`
	UDPTimeout            Duration  `json:"udpTimeout"`
	UDPStreamTimeout      Duration  `json:"udpStreamTimeout"`
}

// Duration is written as time.ParseDuration reads it. It is read late, so that errors can name the field.
type Duration string

// What the file must say it is.
const (
	apiVersion = "kubeproxy.config.k8s.io/v1alpha1"
	kind       = "KubeProxyConfiguration"
)

// Parse reads a file's text, YAML or JSON. The error names every field that is not one, or what else cannot be read.
func Parse(text []byte) (*Document, error) {
	if err := checkSingle(text); err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	d := &Document{}
	unknown, err := kjson.UnmarshalStrict(asJSON, d)
	if err != nil {
		return nil, typeError(err)
	}
	var flaws []error
	switch {
	case d.APIVersion != apiVersion:
		flaws = append(flaws, fmt.Errorf("apiVersion: %q is not %s", d.APIVersion, apiVersion))
	case d.Kind != kind:
		flaws = append(flaws, fmt.Errorf("kind: %q is not %s", d.Kind, kind))
	}
	for _, e := range unknown {
		flaws = append(flaws, fieldError(e))
	}
	return d, errors.Join(flaws...)
}

// checkSingle refuses a file of several documents: only the first would be read.
func checkSingle(text []byte) error {
	documents := 0
	for part := range bytes.SplitSeq(append([]byte("\n"), text...), []byte("\n---")) {
		if len(bytes.TrimSpace(part)) > 0 {
			documents++
		}
	}
	if documents > 1 {
		return fmt.Errorf("%d YAML documents; there may be one only", documents)
	}
	return nil
}

func fieldError(err error) error {
	var e kjson.FieldError
	if errors.As(err, &e) && strings.HasPrefix(err.Error(), "unknown field") {
		return fmt.Errorf("%s: there is no such field", e.FieldPath())
	}
	return err
}

func typeError(err error) error {
	var e *json.UnmarshalTypeError
	if errors.As(err, &e) && e.Field != "" {
		return fmt.Errorf("%s: a %s where %s is expected", e.Field, e.Value, expected(e))
	}
	return fmt.Errorf("not a %s: %w", kind, err)
}

// expected is the type of a field in words.
func expected(e *json.UnmarshalTypeError) string {
	switch name := e.Type.Kind().String(); name {
	case "bool":
		return "true or false"
	case "string":
		return "a text"
	case "slice":
		return "a list"
	case "struct", "map":
		return "a section"
	default:
		return "a number (" + name + ")"
	}
}
