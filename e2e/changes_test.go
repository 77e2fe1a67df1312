package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/fixture"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/question"
)

// changing is a cluster that is changed while both servers look on, through an API server that only they use.
type changing struct {
	control *lab.ControlPlane
	theirs  *lab.APIServer
	objects *lab.Objects
	servers servers
	variant variant
	asked   uint64 // comparisons so far, the seed of the next one
}

// changesVariant has all that is watched: Pods too.
var changesVariant = variant{
	zones: []string{"cluster.local."},
	corefile: `
. {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods verified
        endpoint_pod_names
    }
}
`}

// sample is how many questions are compared after each change.
const sample = 8000

// patience is how long the servers may take to see a change, and to come back after the API server was away: client-go
// waits up to a minute before it reads a token file again.
const (
	patience     = 20 * time.Second
	longPatience = 150 * time.Second
)

func newChanging(t *testing.T, kubeconfig func(*lab.APIServer) string) *changing {
	t.Helper()
	control, p := startControlPlane(t)
	if err := fixture.Load(t.Context(), control.APIServer); err != nil {
		t.Fatal(err)
	}
	theirs, err := control.AddAPIServer(t.Context(), 6444)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := control.Objects()
	if err != nil {
		t.Fatal(err)
	}
	s := startServers(t, p, changesVariant.corefile, kubeconfig(theirs), changesVariant.probeName())
	return &changing{control: control, theirs: theirs, objects: objects, servers: s, variant: changesVariant}
}

func ownKubeconfig(a *lab.APIServer) string { return a.Kubeconfig }

// probe is a question whose answer shows that a change has arrived: the data of its answer records in any order, or a
// response code.
type probe struct {
	name string
	typ  uint16
	want string // words, as in "10.1.2.3 10.1.2.4" or "NXDOMAIN"
}

// see waits until both servers answer the probes, then compares them.
func (c *changing) see(t *testing.T, within time.Duration, probes ...probe) {
	t.Helper()
	c.wait(t, within, probes...)
	c.agree(t)
}

// wait waits until both servers answer the probes.
func (c *changing) wait(t *testing.T, within time.Duration, probes ...probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, d := range []*lab.DNS{c.servers.coredns, c.servers.waypost} {
		for _, p := range probes {
			if err := p.wait(ctx, d.Address); err != nil {
				t.Fatalf("%s: %v\n%s", d.Name, err, d.LogEnd(10))
			}
		}
	}
}

// wait asks until the answer is the wanted one.
func (p probe) wait(ctx context.Context, server netip.AddrPort) error {
	conn, err := ask.Dial(server)
	if err != nil {
		return err
	}
	defer conn.Close()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, err := p.ask(conn)
		if err == nil && got == p.want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s is %q, not %q (%v)", p.name, dns.Type(p.typ), got, p.want, err)
		case <-ticker.C:
		}
	}
}

func (p probe) ask(conn *ask.Conn) (string, error) {
	packet, err := new(dns.Msg).SetQuestion(p.name, p.typ).Pack()
	if err != nil {
		return "", err
	}
	reply, err := conn.TCP(packet)
	if err != nil {
		return "", err
	}
	a, err := compare.Parse(reply)
	if err != nil {
		return "", err
	}
	if a.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[a.Rcode], nil
	}
	var words []string
	for _, r := range a.Sections[0] {
		words = append(words, r.Data)
	}
	slices.Sort(words)
	return strings.Join(words, " "), nil
}

// agree compares the servers on a sample of questions about the cluster as it is now. Answers may still differ for a
// moment, in what was not probed.
func (c *changing) agree(t *testing.T) {
	t.Helper()
	c.asked++
	for deadline := time.Now().Add(patience); ; {
		vocabulary, err := question.Read(t.Context(), c.control.Client)
		if err != nil {
			t.Fatal(err)
		}
		questions := question.Generate(vocabulary, c.variant.zones, c.asked, sample)
		questions = questions[:min(sample, len(questions))]
		oracle := newOracle(t, c.control, c.servers.coredns.Address, vocabulary, c.variant)
		comparison := compare.Comparison{CoreDNS: c.servers.coredns.Address, Other: c.servers.waypost.Address, Oracle: oracle}
		report, err := comparison.Run(questions)
		if err != nil {
			t.Fatalf("asking: %v\n%s", err, c.servers.waypost.LogEnd(20))
		}
		if len(report.Differences) == 0 {
			t.Logf("%d answers agree", report.Asked)
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the servers still differ after %v: %v", patience, report)
			return
		}
	}
}

// apply creates, or replaces where it exists, what the manifests say.
func (c *changing) apply(t *testing.T, manifests string) {
	t.Helper()
	for _, o := range parse(t, manifests) {
		if err := c.objects.Update(t.Context(), o); err == nil {
			continue
		}
		if err := c.objects.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *changing) delete(t *testing.T, manifests string) {
	t.Helper()
	if err := c.objects.Delete(t.Context(), parse(t, manifests)...); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, manifests string) []*lab.Object {
	t.Helper()
	objects, err := lab.ParseManifests([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

const (
	shop = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
	cart = `{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop},
	         spec: {clusterIP: 10.96.9.1, ports: [{name: http, port: 80}]}}`
	cartRenamed = `{apiVersion: v1, kind: Service, metadata: {name: basket, namespace: shop},
	                spec: {clusterIP: 10.96.9.1, ports: [{name: http, port: 80}]}}`
	cartPorts = `{apiVersion: v1, kind: Service, metadata: {name: basket, namespace: shop},
	              spec: {clusterIP: 10.96.9.1, clusterIPs: [10.96.9.1], ports: [{name: https, port: 443}, {name: dns, port: 53, protocol: UDP}]}}`
	cartMoved = `{apiVersion: v1, kind: Service, metadata: {name: basket, namespace: shop},
	              spec: {type: ExternalName, externalName: web.prod.svc.cluster.local}}`
	cartMovedOn = `{apiVersion: v1, kind: Service, metadata: {name: basket, namespace: shop},
	                spec: {type: ExternalName, externalName: api.prod.svc.cluster.local}}`
	workers = `{apiVersion: v1, kind: Service, metadata: {name: workers, namespace: shop},
	            spec: {clusterIP: None, selector: {app: worker}, ports: [{name: http, port: 80}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: workers, namespace: shop},
 spec: {replicas: 2, selector: {matchLabels: {app: worker}},
        template: {metadata: {labels: {app: worker}}, spec: {containers: [{name: c, image: i}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: store, namespace: shop},
 spec: {clusterIP: None, selector: {app: store}, ports: [{name: db, port: 5432}]}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: store, namespace: shop},
 spec: {replicas: 2, serviceName: store, selector: {matchLabels: {app: store}},
        template: {metadata: {labels: {app: store}}, spec: {containers: [{name: c, image: i}]}}}}`
)

// TestChanges changes the cluster step by step. After each the servers must agree, and on the change.
func TestChanges(t *testing.T) {
	c := newChanging(t, ownKubeconfig)
	c.apply(t, shop)
	kubelet := lab.StartKubelet(t.Context(), c.control.Client, "shop", "node-1", netip.MustParseAddr("10.244.9.1"))
	t.Run("a new Service", func(t *testing.T) {
		c.apply(t, cart)
		c.see(t, patience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "10.96.9.1"}, probe{"1.9.96.10.in-addr.arpa.", dns.TypePTR, "cart.shop.svc.cluster.local."})
	})
	t.Run("renamed", func(t *testing.T) {
		c.delete(t, cart)
		c.apply(t, cartRenamed)
		c.see(t, patience, probe{"cart.shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"}, probe{"1.9.96.10.in-addr.arpa.", dns.TypePTR, "basket.shop.svc.cluster.local."})
	})
	t.Run("other ports", func(t *testing.T) {
		c.apply(t, cartPorts)
		c.see(t, patience, probe{"_dns._udp.basket.shop.svc.cluster.local.", dns.TypeSRV, "0 100 53 basket.shop.svc.cluster.local."},
			probe{"_http._tcp.basket.shop.svc.cluster.local.", dns.TypeSRV, "NXDOMAIN"})
	})
	t.Run("an ExternalName", func(t *testing.T) {
		c.apply(t, cartMoved)
		c.see(t, patience, probe{"basket.shop.svc.cluster.local.", dns.TypeA, "10.96.1.1 web.prod.svc.cluster.local."}, probe{"1.9.96.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN"})
	})
	t.Run("another target", func(t *testing.T) {
		c.apply(t, cartMovedOn)
		c.see(t, patience, probe{"basket.shop.svc.cluster.local.", dns.TypeA, "10.96.1.2 api.prod.svc.cluster.local."})
	})
	t.Run("a Deployment and a StatefulSet", func(t *testing.T) {
		c.apply(t, workers)
		c.count(t, "workers.shop.svc.cluster.local.", 2)
		c.count(t, "store.shop.svc.cluster.local.", 2)
		c.count(t, "store-1.store.shop.svc.cluster.local.", 1)
		c.agree(t)
	})
	t.Run("scaled up", func(t *testing.T) {
		c.scale(t, 6)
		c.count(t, "workers.shop.svc.cluster.local.", 6)
		c.agree(t)
	})
	t.Run("scaled down", func(t *testing.T) {
		c.scale(t, 1)
		c.count(t, "workers.shop.svc.cluster.local.", 1)
		c.agree(t)
	})
	t.Run("a Pod that is no longer ready", func(t *testing.T) {
		c.setReady(t, "prod", "db-0", "False")
		c.see(t, patience, probe{"db.prod.svc.cluster.local.", dns.TypeA, "10.244.2.40"}, probe{"db-0.db.prod.svc.cluster.local.", dns.TypeA, "NXDOMAIN"})
		c.setReady(t, "prod", "db-0", "True")
		c.see(t, patience, probe{"db.prod.svc.cluster.local.", dns.TypeA, "10.244.1.40 10.244.2.40"})
	})
	t.Run("a namespace deleted", func(t *testing.T) {
		c.delete(t, shop)
		c.see(t, patience, probe{"basket.shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"}, probe{"shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"})
	})
	if err := kubelet.Stop(); err != nil {
		t.Errorf("the Pods' keeper: %v", err)
	}
}

// count waits until both servers give a name so many addresses.
func (c *changing) count(t *testing.T, name string, addresses int) {
	t.Helper()
	for _, d := range []*lab.DNS{c.servers.coredns, c.servers.waypost} {
		conn, err := ask.Dial(d.Address)
		if err != nil {
			t.Fatal(err)
		}
		ticker := time.NewTicker(5 * time.Millisecond)
		for deadline := time.Now().Add(patience); ; <-ticker.C {
			got, err := (probe{name: name, typ: dns.TypeA}).ask(conn)
			if err == nil && len(strings.Fields(strings.TrimPrefix(got, "NXDOMAIN"))) == addresses {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s has %q, not %d addresses (%v)", d.Name, name, got, addresses, err)
			}
		}
		ticker.Stop()
		conn.Close()
	}
}

func (c *changing) scale(t *testing.T, replicas int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := c.control.Client.AppsV1().Deployments("shop").Patch(t.Context(), "workers", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *changing) setReady(t *testing.T, namespace, pod, status string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
	_, err := c.control.Client.CoreV1().Pods(namespace).Patch(t.Context(), pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}
