package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/cluster"
)

// service and pod write an object of namespace a; what is given goes into the spec, or to its place.
func service(name, spec string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: a, labels: {tier: front}}\nspec: {%s}\n", name, spec)
}

func pod(name, ips, spec, rest string) string {
	var list []string
	for ip := range strings.FieldsSeq(ips) {
		list = append(list, `{ip: "`+ip+`"}`)
	}
	return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: a, labels: {app: x}%s}\nspec: {nodeName: n1%s}\nstatus: {podIPs: [%s], %s}\n",
		name, part(rest, 0), spec, strings.Join(list, ", "), strings.TrimPrefix(part(rest, 1), ", ")+", conditions: [{type: Ready, status: \""+ready(rest)+"\"}]")
}

// part cuts "metadata|status" in two.
func part(rest string, i int) string {
	rest = strings.TrimPrefix(rest, "unready")
	meta, status, _ := strings.Cut(rest, "|")
	return []string{meta, ", phase: Running" + status}[i]
}

func ready(rest string) string {
	if strings.HasPrefix(rest, "unready") {
		return "False"
	}
	return "True"
}

const deleting = ", deletionTimestamp: \"2026-01-01T00:00:00Z\""

// TestDerivedSlices compares with what the EndpointSlice controller makes of the same objects.
func TestDerivedSlices(t *testing.T) {
	const ports = "selector: {app: x}, ports: [{name: http, port: 80, targetPort: 8080}]"
	named := func(containers string) string { return ", containers: [" + containers + "]" }
	for _, tt := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"ready, not ready, on the way out", []string{
			service("web", "clusterIP: 10.96.0.7, "+ports),
			pod("p1", "10.0.0.1", "", ""), pod("p2", "10.0.0.2", "", "unready"), pod("p3", "10.0.0.3", "", deleting),
			pod("p4", "10.0.0.4", "", "unready"+deleting), pod("p5", "", "", ""),
		}, []string{"a/web-ipv4-1 of web http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs 10.0.0.2(pod=p2,node=n1,zone=) 10.0.0.3(pod=p3,node=n1,zone=)st 10.0.0.4(pod=p4,node=n1,zone=)t"}},
		{"publishNotReadyAddresses", []string{
			service("web", "clusterIP: None, publishNotReadyAddresses: true, "+ports),
			pod("p1", "10.0.0.1", "", ""), pod("p2", "10.0.0.2", "", "unready"), pod("p3", "10.0.0.3", "", deleting),
		}, []string{"a/web-ipv4-1 of web http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs 10.0.0.2(pod=p2,node=n1,zone=)r 10.0.0.3(pod=p3,node=n1,zone=)rst"}},
		{"hostnames", []string{
			service("db", "clusterIP: None, "+ports),
			pod("db-0", "10.0.0.1", ", hostname: db-0, subdomain: db", ""), pod("db-1", "10.0.0.2", ", hostname: db-1, subdomain: other", ""),
			pod("db-2", "10.0.0.3", ", subdomain: db", ""), pod("db-3", "10.0.0.4", ", hostname: db-3", ""),
		}, []string{"a/db-ipv4-1 of db http/8080/tcp 10.0.0.1(db-0,pod=db-0,node=n1,zone=)rs 10.0.0.2(pod=db-1,node=n1,zone=)rs 10.0.0.3(pod=db-2,node=n1,zone=)rs 10.0.0.4(pod=db-3,node=n1,zone=)rs"}},
		{"families named", []string{
			service("web", "clusterIP: 10.96.0.7, ipFamilies: [IPv4, IPv6], "+ports),
			pod("p1", "10.0.0.1 fd00::1", "", ""), pod("p2", "fd00::2", "", ""), pod("p3", "10.0.0.3", "", ""),
		}, []string{
			"a/web-ipv4-1 of web http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs 10.0.0.3(pod=p3,node=n1,zone=)rs",
			"a/web-ipv6-1 of web http/8080/tcp fd00::1(pod=p1,node=n1,zone=)rs fd00::2(pod=p2,node=n1,zone=)rs",
		}},
		{"the family of the address", []string{
			service("web", "clusterIP: \"fd00:96::7\", "+ports), pod("p1", "10.0.0.1 fd00::1", "", ""),
		}, []string{"a/web-ipv6-1 of web http/8080/tcp fd00::1(pod=p1,node=n1,zone=)rs"}},
		{"both families without any word of them", []string{
			service("web", "clusterIP: None, "+ports), pod("p1", "10.0.0.1 fd00::1", "", ""),
		}, []string{
			"a/web-ipv4-1 of web http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs",
			"a/web-ipv6-1 of web http/8080/tcp fd00::1(pod=p1,node=n1,zone=)rs",
		}},
		{"named target ports", []string{
			service("web", "clusterIP: 10.96.0.7, selector: {app: x}, ports: [{name: http, port: 80, targetPort: web}, {name: dns, port: 53, targetPort: dns, protocol: UDP}, {name: same, port: 9}]"),
			pod("p1", "10.0.0.1", named("{name: c, ports: [{name: web, containerPort: 8080}, {name: dns, containerPort: 5353}]}"), ""),
			pod("p2", "10.0.0.2", named("{name: c, ports: [{name: dns, containerPort: 5353, protocol: UDP}]}, {name: d, ports: [{name: web, containerPort: 8081}]}"), ""),
			pod("p3", "10.0.0.3", ", initContainers: [{name: i, restartPolicy: Always, ports: [{name: web, containerPort: 8080}]}, {name: j, ports: [{name: dns, protocol: UDP, containerPort: 1}]}]", ""),
		}, []string{
			"a/web-ipv4-1 of web http/8080/tcp same/9/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs 10.0.0.3(pod=p3,node=n1,zone=)rs",
			"a/web-ipv4-2 of web http/8081/tcp dns/5353/udp same/9/tcp 10.0.0.2(pod=p2,node=n1,zone=)rs",
		}},
		{"headless without ports", []string{
			service("db", "clusterIP: None, selector: {app: x}"), pod("p1", "10.0.0.1", "", ""),
		}, []string{"a/db-ipv4-1 of db 10.0.0.1(pod=p1,node=n1,zone=)rs"}},
		{"zones and the traffic's distribution", []string{
			service("zone", "clusterIP: 10.96.0.7, trafficDistribution: PreferClose, "+ports),
			service("node", "clusterIP: 10.96.0.8, trafficDistribution: PreferSameNode, "+ports),
			pod("p1", "10.0.0.1", "", ""), pod("p2", "10.0.0.2", "", "unready"),
			"---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}\n",
		}, []string{
			"a/node-ipv4-1 of node http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=z1,for=[z1][n1])rs 10.0.0.2(pod=p2,node=n1,zone=z1)",
			"a/zone-ipv4-1 of zone http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=z1,for=[z1][])rs 10.0.0.2(pod=p2,node=n1,zone=z1)",
		}},
		{"Pods that have ended, of other labels and of other namespaces", []string{
			service("web", "clusterIP: 10.96.0.7, "+ports),
			pod("p1", "10.0.0.1", "", "|, phase: Succeeded"), pod("p2", "10.0.0.2", "", "|, phase: Failed"), pod("p3", "10.0.0.3", "", "|, phase: Pending"),
			strings.Replace(pod("p4", "10.0.0.4", "", ""), "app: x", "app: z", 1), strings.Replace(pod("p5", "10.0.0.5", "", ""), "namespace: a", "namespace: b", 1),
		}, []string{"a/web-ipv4-1 of web http/8080/tcp 10.0.0.3(pod=p3,node=n1,zone=)rs"}},
		{"Services that get none", []string{
			service("external", "type: ExternalName, externalName: a.b, "+ports), service("bare", "clusterIP: None"), service("empty", "clusterIP: None, selector: {}"),
			service("own", "clusterIP: 10.96.0.7, "+ports), pod("p1", "10.0.0.1", "", ""),
			"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: by-hand, namespace: a, labels: {kubernetes.io/service-name: own}}\naddressType: IPv4\nendpoints: []\n",
		}, []string{"a/by-hand of own"}},
		{"a name that is taken", []string{
			service("web", "clusterIP: 10.96.0.7, "+ports), pod("p1", "10.0.0.1", "", ""),
			"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-ipv4-1, namespace: a, labels: {kubernetes.io/service-name: other}}\naddressType: IPv4\nendpoints: []\n",
		}, []string{"a/web-ipv4-1 of other", "a/web-ipv4-2 of web http/8080/tcp 10.0.0.1(pod=p1,node=n1,zone=)rs"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Join(tt.texts, "")
			text = strings.ReplaceAll(text, "phase: Running, phase:", "phase:")
			told, logged := once(t, cluster.Needs{PodNames: true, Routes: true}, map[string]string{"a.yaml": text})
			if diff := cmp.Diff(tt.want, onlySlices(told)); diff != "" || len(logged) > 0 {
				t.Errorf("%s\n%q", diff, logged)
			}
		})
	}
}

// TestManyEndpoints wants 250 Pods in three slices, and the Service's labels on them.
func TestManyEndpoints(t *testing.T) {
	text := service("web", "clusterIP: None, selector: {app: x}")
	for i := range 250 {
		text += pod(fmt.Sprintf("p%03d", i), fmt.Sprintf("10.0.1.%d", i), "", "")
	}
	told, _ := once(t, cluster.Needs{Labels: "tier=front"}, map[string]string{"a.yaml": text})
	var sizes []string
	for _, line := range onlySlices(told) {
		name, rest, _ := strings.Cut(line, " of web ")
		sizes = append(sizes, fmt.Sprintf("%s %d", name, len(strings.Fields(rest))))
	}
	if diff := cmp.Diff([]string{"a/web-ipv4-1 100", "a/web-ipv4-2 100", "a/web-ipv4-3 50"}, sizes); diff != "" {
		t.Error(diff)
	}
	if told, _ := once(t, cluster.Needs{Labels: "tier=back"}, map[string]string{"a.yaml": text}); len(onlySlices(told)) > 0 {
		t.Errorf("slices of a Service that was not asked for: %q", told)
	}
}

// onlySlices leaves the slices, without what they begin with.
func onlySlices(told []string) []string {
	var lines []string
	for _, line := range slices.Clone(told) {
		if rest, ok := strings.CutPrefix(line, "+ endpointslice "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}
