package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/fixture"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/question"
)

// perVariant is how many questions are asked at least under each variant.
const perVariant = 50_000

// hostilePackets is how many packets that are no questions are sent under the first variant.
const hostilePackets = 3000

// TestAnswersAsCoreDNS asks Waypost and CoreDNS the same questions about the same cluster, under each variant of the
// kubernetes directive. All answers must be equal but where Waypost departs, and there be exactly the departed ones.
func TestAnswersAsCoreDNS(t *testing.T) {
	control, p := startControlPlane(t)
	if err := fixture.Load(t.Context(), control.APIServer); err != nil {
		t.Fatal(err)
	}
	vocabulary, err := question.Read(t.Context(), control.Client)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			s := startServers(t, p, v.corefile, control.Kubeconfig, v.probeName())
			questions := question.Generate(vocabulary, v.zones, uint64(i), perVariant)
			oracle := newOracle(t, control, s.coredns.Address, vocabulary, v)
			c := compare.Comparison{CoreDNS: s.coredns.Address, Other: s.waypost.Address, Oracle: oracle}
			check(t, "questions", s, &c, questions)
			if i == 0 {
				c.Timeout, c.Tries = 200*time.Millisecond, 2
				check(t, "hostile packets", s, &c, question.Hostile(1, hostilePackets))
			}
		})
	}
}

// check runs a comparison, logs its report and fails the test where an answer differs.
func check(t *testing.T, what string, s servers, c *compare.Comparison, questions []question.Question) {
	t.Helper()
	report, err := c.Run(questions)
	t.Logf("%s: %v", what, report)
	if err != nil {
		t.Errorf("asking: %v\n%s\n%s", err, s.coredns.LogEnd(20), s.waypost.LogEnd(20))
	}
	if len(report.Differences) > 0 {
		t.Errorf("%s: %d of %d answers differ from what CoreDNS and the departures say", what, len(report.Differences), report.Asked)
	}
}

func (v *variant) probeName() string {
	if v.probe != "" {
		return v.probe
	}
	return "kubernetes.default.svc." + v.zones[0]
}

// served are all zones that the variant's kubernetes directives serve.
func (v *variant) served() []string {
	if v.reverse != nil {
		return append(slices.Clone(v.zones), v.reverse...)
	}
	return append(slices.Clone(v.zones), "in-addr.arpa.", "ip6.arpa.")
}

// newOracle tells the departures of the cluster.
func newOracle(t *testing.T, control *lab.ControlPlane, coredns netip.AddrPort, vocabulary *question.Vocabulary, v variant) *compare.Oracle {
	t.Helper()
	external := map[string]string{}
	for _, s := range vocabulary.Services {
		if s.ExternalName == "" {
			continue
		}
		for _, zone := range v.zones {
			name := s.Name + "." + s.Namespace + ".svc." + zone
			external[name], external["_._."+name] = s.ExternalName, s.ExternalName
		}
	}
	oracle, err := compare.NewOracle(coredns, v.served(), external, unsendable(t, control, v), append(vocabulary.Names(v.zones), vocabulary.Reverse...))
	if err != nil {
		t.Fatal(err)
	}
	return oracle
}

// unsendable lists the addresses of slices that belong to no Service, by reverse name, with the PTR targets that they have
// from other slices. CoreDNS makes a record of an empty name for them, which no message can hold.
func unsendable(t *testing.T, control *lab.ControlPlane, v variant) map[string][]string {
	t.Helper()
	targets := map[string][]string{}
	if strings.Contains(v.corefile, "noendpoints") || strings.Contains(v.corefile, " labels ") {
		return targets // no slices, or none of these
	}
	list, err := control.Client.DiscoveryV1().EndpointSlices("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		if s.Labels[discovery.LabelServiceName] == "" && v.exposes(s.Namespace) {
			for _, e := range s.Endpoints {
				targets[reverseName(t, e.Addresses[0])] = nil
			}
		}
	}
	for _, s := range list.Items {
		service := s.Labels[discovery.LabelServiceName]
		if service == "" || s.AddressType == discovery.AddressTypeFQDN || !v.exposes(s.Namespace) {
			continue
		}
		for _, e := range s.Endpoints {
			name := reverseName(t, e.Addresses[0])
			if _, ok := targets[name]; ok && e.Hostname != nil {
				targets[name] = append(targets[name], *e.Hostname+"."+service+"."+s.Namespace+".svc."+v.zones[0])
			}
		}
	}
	return targets
}

func (v *variant) exposes(namespace string) bool {
	return v.exposed == nil || slices.Contains(v.exposed, namespace)
}

func reverseName(t *testing.T, address string) string {
	t.Helper()
	name, err := dns.ReverseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
