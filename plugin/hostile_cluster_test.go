package plugin_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// These tests try what published vulnerabilities were, from the side of those who may write objects of the cluster.

// lure is a Service of a tenant with slices that the tenant wrote: of addresses that no Pod has, of the ClusterIP of another
// namespace's Service, and of another namespace's Pod.
const lure = `
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: prod}, spec: {clusterIP: 10.96.1.1, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: prod}, status: {phase: Running, podIP: 10.244.1.1, podIPs: [{ip: 10.244.1.1}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: lure, namespace: tenant}, spec: {clusterIP: None, ports: [{name: http, port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lure-4, namespace: tenant, labels: {kubernetes.io/service-name: lure}}
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints:
- {addresses: [127.0.0.1]}
- {addresses: [169.254.169.254]}
- {addresses: [224.0.0.1]}
- {addresses: [255.255.255.255]}
- {addresses: [0.0.0.0]}
- {addresses: [10.96.1.1]}
- {addresses: [10.244.1.1], hostname: db}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lure-6, namespace: tenant, labels: {kubernetes.io/service-name: lure}}
addressType: IPv6
endpoints: [{addresses: ["::1"]}, {addresses: ["fe80::1"]}, {addresses: ["ff02::1"]}, {addresses: ["::"]}]
`

// TestForeignAddresses: what a slice says is answered as it stands there, as CoreDNS answers it, at names of the slice's own
// namespace and at no other. A reverse name of a Service's address stays the Service's. CVE-2021-25737 and CVE-2021-25740: a
// proxy that believed such slices led into what the tenant could not reach; a name leads nowhere that its address does not.
func TestForeignAddresses(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "lure.yaml"), lure)
	s := hosted(t, "kubernetes cluster.local in-addr.arpa ip6.arpa {\nmanifests "+folder+"\npods verified\n}")
	for _, tt := range []struct{ name, typ, want string }{
		{"lure.tenant.svc.cluster.local.", "A", "127.0.0.1 169.254.169.254 224.0.0.1 255.255.255.255 0.0.0.0 10.96.1.1 10.244.1.1"},
		{"lure.tenant.svc.cluster.local.", "AAAA", "::1 fe80::1 ff02::1 ::"},
		{"127-0-0-1.lure.tenant.svc.cluster.local.", "A", "127.0.0.1"},
		{"--1.lure.tenant.svc.cluster.local.", "AAAA", "::1"},
		{"db.lure.tenant.svc.cluster.local.", "A", "10.244.1.1"},
		{"1.0.0.127.in-addr.arpa.", "PTR", "127-0-0-1.lure.tenant.svc.cluster.local."},
		{"254.169.254.169.in-addr.arpa.", "PTR", "169-254-169-254.lure.tenant.svc.cluster.local."},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", "PTR", "--1.lure.tenant.svc.cluster.local."},
		{"1.1.244.10.in-addr.arpa.", "PTR", "db.lure.tenant.svc.cluster.local."},
		{"1.1.96.10.in-addr.arpa.", "PTR", "web.prod.svc.cluster.local."},
		{"web.prod.svc.cluster.local.", "A", "10.96.1.1"},
		{"10-244-1-1.prod.pod.cluster.local.", "A", "10.244.1.1"},
		{"10-244-1-1.tenant.pod.cluster.local.", "A", ""},
		{"127-0-0-1.tenant.pod.cluster.local.", "A", ""},
	} {
		reply := ask(t, s, "tcp", tt.name, dns.StringToType[tt.typ])
		var got []string
		for _, rr := range reply.Answer {
			fields := strings.Fields(rr.String())
			got = append(got, fields[len(fields)-1])
		}
		if text := strings.Join(got, " "); text != tt.want || !reply.Authoritative {
			t.Errorf("%s %s: %q, want %q\n%v", tt.name, tt.typ, text, tt.want, reply)
		}
	}
}
