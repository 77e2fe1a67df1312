package fromapi

import (
	"strings"
	"testing"

	"github.com/waypost/waypost/cluster"
)

const webSlice = `
metadata:
  namespace: prod
  name: web-x7k2p
  labels: {kubernetes.io/service-name: web}
  annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-11-21T07:16:00.5Z"}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- addresses: [10.0.0.1, 10.0.0.2]
  hostname: web-0
  nodeName: node-1
  zone: Zone-A
  targetRef: {kind: Pod, name: web-0, namespace: prod}
  hints: {forZones: [{name: zone-a}, {name: zone-b}], forNodes: [{name: node-1}]}
- addresses: [10.0.0.3]
  conditions: {ready: false, serving: true, terminating: true}
  nodeName: node-1
  zone: Zone-A
- addresses: [10.0.0.4]
  conditions: {ready: false, serving: false}
`

func TestSlice(t *testing.T) {
	const triggered = " triggered 1795245360500000000"
	run(t, (*Converter).Slice, []conversion{{
		name: "for plain DNS", object: webSlice,
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 ready serving] [10.0.0.2 web-0 ready serving further]" +
			" [10.0.0.3 serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "with Pod names and zones", object: webSlice, needs: cluster.Needs{PodNames: true, Zones: true},
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 pod=web-0 zone=Zone-A ready serving] [10.0.0.2 web-0 pod=web-0 zone=Zone-A ready serving further]" +
			" [10.0.0.3 zone=Zone-A serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "for routes", object: webSlice, needs: routes,
		want: "prod/web-x7k2p of web http:tcp/8080" +
			" [10.0.0.1 web-0 zone=Zone-A node=node-1 for=zone-a,zone-b;node-1 ready serving]" +
			" [10.0.0.2 web-0 zone=Zone-A node=node-1 for=zone-a,zone-b;node-1 ready serving further]" +
			" [10.0.0.3 zone=Zone-A node=node-1 serving terminating] [10.0.0.4]" + triggered,
	}, {
		name: "names", object: `
metadata: {namespace: prod, name: far, labels: {kubernetes.io/service-name: far}}
addressType: FQDN
endpoints: [{addresses: [a.example.com, "b,c", c.example.com], hostname: h}]`,
		want: "prod/far of far [a.example.com h ready serving] [c.example.com h ready serving further]",
		flaw: `"prod/far": address "b,c" is not a domain name`,
	}, {
		name: "a bad address is lost alone", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [abc, 10.0.0.1]
- addresses: [10.0.0.2]
  hostname: UPPER
- addresses: [10.0.0.3]
  hostname: web.1`,
		want: "prod/web-1 of web [10.0.0.1 ready serving] [10.0.0.2 ready serving] [10.0.0.3 ready serving]",
		flaw: `"prod/web-1": address "abc" is not an IP address (and 2 more)`,
	}, {
		name: "ports without a number, and impossible ones", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: any}, {}, {port: 53, protocol: UDP}, {port: 70000}, {port: -1}, {port: 8080, protocol: TCQ}]`,
		want: "prod/web-1 of web any:tcp/0 :tcp/0 :udp/53",
		flaw: `"prod/web-1": port "": the number 70000 is not one (and 2 more)`,
	}, {
		name: "not for proxies", needs: routes, object: `
metadata: {namespace: prod, name: db-1, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}`,
		want: "prod/db-1 of db headless-label",
	}, {
		name: "not for proxies, which DNS does not mind", object: `
metadata: {namespace: prod, name: db-1, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}`,
		want: "prod/db-1 of db",
	}, {
		name: "no Service", object: `{metadata: {namespace: prod, name: lone.slice}}`,
		want: "prod/lone.slice of ",
	}, {
		name: "a Service's name as only a label can be", object: `
metadata: {namespace: prod, name: web-1, labels: {kubernetes.io/service-name: We.b_1}}`,
		want: "prod/web-1 of We.b_1",
	}, {
		name: "of an import, not asked for", object: `
metadata: {namespace: prod, name: imp-1, labels: {multicluster.kubernetes.io/service-name: imp, multicluster.kubernetes.io/source-cluster: east}}`,
		want: "prod/imp-1 of ",
	}, {
		name: "of an import", needs: cluster.Needs{Imports: true}, object: `
metadata: {namespace: prod, name: imp-1, labels: {multicluster.kubernetes.io/service-name: imp, multicluster.kubernetes.io/source-cluster: east}}`,
		want: "prod/imp-1 of  import imp at east",
	}, {
		name: "a change at no time", object: `
metadata: {namespace: prod, name: web-1, annotations: {endpoints.kubernetes.io/last-change-trigger-time: yesterday}}`,
		want: "prod/web-1 of ",
	}, {
		name: "a Pod's name too long for a label", needs: cluster.Needs{PodNames: true}, object: `
metadata: {namespace: prod, name: web-1}
endpoints:
- {addresses: [10.0.0.1], targetRef: {name: ` + strings.Repeat("p", 63) + `}}
- {addresses: [10.0.0.2], targetRef: {name: ` + strings.Repeat("p", 64) + `}}`,
		want: "prod/web-1 of  [10.0.0.1 pod=" + strings.Repeat("p", 63) + " ready serving] [10.0.0.2 ready serving]",
	}, {
		name: "no namespace", object: `metadata: {name: web-1}`,
		flaw: `"web-1": the namespace "" is not a DNS label`,
	}})
}
