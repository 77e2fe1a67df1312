package fromapi

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestService(t *testing.T) {
	run(t, (*Converter).Service, []conversion{{
		name: "cluster IP",
		object: `
metadata: {namespace: prod, name: web, labels: {app: web}}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  clusterIPs: [10.96.1.1, "fd00:10:96::1"]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP}
  - {port: 5060, protocol: SCTP}`,
		want: "prod/web 10.96.1.1 fd00:10:96::1 http:tcp/80 dns:udp/53 :sctp/5060",
	}, {
		name: "of an API server before dual stack",
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1}`,
		want: "prod/web 10.96.1.1",
	}, {
		name: "headless",
		object: `
metadata: {namespace: prod, name: db}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: pg, port: 5432}]}`,
		want: "prod/db headless pg:tcp/5432",
	}, {
		name: "external name",
		object: `
metadata: {namespace: prod, name: outside}
spec: {type: ExternalName, externalName: www.Example_1.com., clusterIP: 10.96.1.1}`,
		want: "prod/outside is www.Example_1.com.",
	}, {
		name: "external name that is none",
		object: `
metadata: {namespace: prod, name: outside}
spec: {type: ExternalName, externalName: "www..com"}`,
		flaw: `"prod/outside": spec.externalName "www..com" is not a domain name`,
	}, {
		name: "leading zeros, and IPv4 in IPv6",
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIPs: [010.096.001.010, "::ffff:10.96.1.2"]}`,
		want: "prod/web 10.96.1.10 10.96.1.2",
	}, {
		name: "bad addresses and ports",
		object: `
metadata: {namespace: prod, name: web}
spec:
  clusterIPs: [abc, 10.96.1.1, "fe80::1%eth0", 10.96.1]
  ports:
  - {name: zero, port: 0}
  - {name: high, port: 65536}
  - {name: icmp, port: 1, protocol: ICMP}
  - {name: a.b, port: 1}
  - {name: good, port: 1}`,
		want: "prod/web 10.96.1.1 good:tcp/1",
		flaw: `"prod/web": port "zero": the number 0 is not one (and 6 more)`,
	}, {
		name:   "no namespace",
		object: `metadata: {name: web}`,
		flaw:   `"web": the namespace "" is not a DNS label`,
	}, {
		name:   "no name",
		object: `metadata: {namespace: prod}`,
		flaw:   "an object without a name",
	}, {
		name:   "a name with dots",
		object: `metadata: {namespace: prod, name: web.shop}`,
		flaw:   `"prod/web.shop": the name is not a DNS label`,
	}, {
		name:   "a name too long",
		object: `metadata: {namespace: prod, name: ` + strings.Repeat("w", 64) + `}`,
		flaw:   `"prod/` + strings.Repeat("w", 64) + `": the name is not a DNS label`,
	}})
}

func TestServiceRouting(t *testing.T) {
	run(t, (*Converter).Service, []conversion{{
		name: "plain", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, ports: [{port: 80, nodePort: 30080}]}`,
		want: "prod/web 10.96.1.1 :tcp/80/30080 node-ports",
	}, {
		name: "all there is", needs: routes,
		object: `
metadata:
  namespace: prod
  name: web
  creationTimestamp: "2026-11-21T07:16:00Z"
  labels: {service.kubernetes.io/service-proxy-name: ""}
  annotations: {service.kubernetes.io/topology-mode: Auto}
spec:
  type: LoadBalancer
  clusterIP: 10.96.1.1
  externalIPs: [192.0.2.1]
  allocateLoadBalancerNodePorts: false
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  healthCheckNodePort: 32000
  trafficDistribution: PreferSameNode
  publishNotReadyAddresses: true
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  loadBalancerSourceRanges: [" 198.51.100.7/24 ", "2001:db8::/32"]
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.1}
    - {ip: 203.0.113.2, ipMode: VIP}
    - {ip: 203.0.113.3, ipMode: Proxy}
    - {hostname: lb.example.com}`,
		want: "prod/web 10.96.1.1 external 192.0.2.1 balanced 203.0.113.1 203.0.113.2 for 198.51.100.0/24 2001:db8::/32 " +
			"affinity 60s internal-local external-local health 32000 PreferSameNode load-balancer topology auto " +
			"not-ready other-proxy created 1795245360",
	}, {
		name: "affinity by default", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, sessionAffinity: ClientIP}`,
		want: "prod/web 10.96.1.1 affinity 10800s node-ports",
	}, {
		name: "some ranges are bad", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, loadBalancerSourceRanges: [all, 10.0.0.0/8]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}`,
		want: "prod/web 10.96.1.1 balanced 203.0.113.1 for 10.0.0.0/8 node-ports",
		flaw: `"prod/web": spec.loadBalancerSourceRanges: "all" is not a range of addresses`,
	}, {
		name: "all ranges are bad: nobody gets in", needs: routes,
		object: `
metadata: {namespace: prod, name: web}
spec: {clusterIP: 10.96.1.1, loadBalancerSourceRanges: [all]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}`,
		want: "prod/web 10.96.1.1 node-ports",
		flaw: `"prod/web": spec.loadBalancerSourceRanges: "all" is not a range of addresses`,
	}})
}

// Whatever an object says, it becomes a value that DNS can carry, or none.
func FuzzService(f *testing.F) {
	f.Add("web", "prod", "10.96.1.1", "http", int32(80), "www.example.com")
	f.Add("", "..", "None", "a.b", int32(-1), "..")
	f.Fuzz(func(t *testing.T, name, namespace, ip, port string, number int32, external string) {
		s := &corev1.Service{}
		s.Name, s.Namespace = name, namespace
		s.Spec.ClusterIPs, s.Spec.ExternalName = []string{ip}, external
		s.Spec.Ports = []corev1.ServicePort{{Name: port, Port: number}}
		s.Spec.LoadBalancerSourceRanges = []string{ip}
		for _, kind := range []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName} {
			s.Spec.Type = kind
			value, err := New(routes).Service(s)
			if value == nil && err == nil {
				t.Error("left out without a word")
			}
			if value != nil && (!isLabel(value.Name) || !isLabel(value.Namespace) || kind == corev1.ServiceTypeExternalName && value.ExternalName == "") {
				t.Errorf("%+v", value)
			}
		}
	})
}
