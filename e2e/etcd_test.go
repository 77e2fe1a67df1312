package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/compare"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/peers"
	"github.com/waypost/waypost/e2e/question"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// perEtcd is how many questions are asked under each variant of the etcd directive.
const perEtcd = 3000

// skydnsProbe is a name of every variant.
const skydnsProbe = "plain.example.org."

// skydnsOthers are blocks for the names that aliases lead to.
const skydnsOthers = `
out.example {
    template IN A {
        match ^www[.]
        answer "{{ .Name }} 60 IN A 203.0.113.1"
        fallthrough
    }
    template IN AAAA {
        match ^www[.]
        answer "{{ .Name }} 60 IN AAAA 2001:db8:1::1"
        fallthrough
    }
    template IN ANY {
        match ^alias[.]
        answer "{{ .Name }} 60 IN CNAME www.out.example."
        fallthrough
    }
    template IN ANY {
        rcode NXDOMAIN
    }
}
`

// etcdVariants are options of the etcd directive; ENDPOINT stands for where one is.
var etcdVariants = []struct{ name, corefile string }{
	{"plain", "example.org 192.0.2.0/24 {\n errors\n etcd {\n  endpoint ENDPOINT\n }\n}" + skydnsOthers},
	{"fallthrough", ". {\n errors\n etcd example.org 2.0.192.in-addr.arpa {\n  endpoint http://127.0.0.1:9 ENDPOINT\n  fallthrough\n }\n}" + skydnsOthers},
	{"another path", "example.org 192.0.2.0/24 {\n errors\n etcd {\n  endpoint ENDPOINT\n  path /other/path\n  fallthrough 2.0.192.in-addr.arpa\n  no_apex_fallback\n  min-lease-ttl 40\n  max-lease-ttl 50s\n }\n}" + skydnsOthers},
	{"an apex without records", "org 192.0.2.0/24 {\n errors\n etcd {\n  endpoint ENDPOINT\n  upstream\n stubzones\n }\n}" + skydnsOthers},
}

// TestEtcd asks Waypost and CoreDNS the same questions about the same etcd, under several Corefiles.
func TestEtcd(t *testing.T) {
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	const url = "http://127.0.0.1:22379"
	e, err := lab.StartEtcd(t.Context(), "skydns", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Stop() })
	storeSkydns(t, e)
	for _, v := range etcdVariants {
		t.Run(v.name, func(t *testing.T) {
			s := startServers(t, p, strings.ReplaceAll(v.corefile, "ENDPOINT", url), "", skydnsProbe)
			names := append(skydnsNames("example.org."), "org.", "2.0.192.in-addr.arpa.", "1.2.0.192.in-addr.arpa.", "2.2.0.192.in-addr.arpa.",
				"3.2.0.192.in-addr.arpa.", "9.2.0.192.in-addr.arpa.", "leased.example.org.", "www.out.example.", "example.net.")
			compareEtcd(t, s, question.About(names, 7, perEtcd))
			if t.Failed() {
				t.Logf("CoreDNS says\n%s\nWaypost says\n%s", s.coredns.LogEnd(5), s.waypost.LogEnd(5))
			}
		})
	}
	t.Run("away", func(t *testing.T) { etcdAway(t, p, e) })
}

// storeSkydns stores the records of the zones that the variants have, under two paths, and some with leases.
func storeSkydns(t *testing.T, e *lab.Etcd) {
	t.Helper()
	for _, path := range []string{"skydns", "other/path"} {
		values := skydns(path, "example.org.")
		for name, host := range map[string]string{"1": "www.example.org", "2": "out.example", "3": "192.0.2.3"} {
			values[skydnsKey(path, name+".2.0.192.in-addr.arpa.")] = []byte(`{"host":"` + host + `"}`)
		}
		if err := e.Store(t.Context(), values); err != nil {
			t.Fatal(err)
		}
	}
	for i, seconds := range []int{3600, 1000000} {
		var lease struct{ ID string }
		if err := e.Call(t.Context(), "lease/grant", fmt.Sprintf(`{"TTL":%d,"ID":%d}`, seconds, i+1), &lease); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"skydns", "other/path"} {
			key := fmt.Sprintf("%s/%d", skydnsKey(path, "leased.example.org."), i)
			body := fmt.Sprintf(`{"key":%q,"value":%q,"lease":%d}`, encoded(key), encoded(fmt.Sprintf(`{"host":"192.0.2.%d"}`, 60+i)), i+1)
			if err := e.Call(t.Context(), "kv/put", body, &lease); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// compareEtcd asks both servers and fails the test where an answer differs that no departure explains.
func compareEtcd(t *testing.T, s servers, questions []question.Question) {
	t.Helper()
	replies, err := putEtcd(t, s, questions)
	if err != nil {
		t.Fatal(err)
	}
	v, err := new(corefile).settle(t.Context(), replies, nil, func(questions []question.Question) ([]reply, error) {
		return putEtcd(t, s, questions)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d questions, %d differ\n%v", v.asked, len(v.differences), v)
	if len(v.differences) > 0 {
		t.Errorf("%d of %d answers differ", len(v.differences), v.asked)
	}
}

// putEtcd asks both servers all questions, in order, some at once.
func putEtcd(t *testing.T, s servers, questions []question.Question) ([]reply, error) {
	t.Helper()
	replies := make([]reply, len(questions))
	var next atomic.Int64
	var group errgroup.Group
	for range askers {
		coredns, waypost := dialServer(t, s.coredns), dialServer(t, s.waypost)
		group.Go(func() (err error) {
			for i := int(next.Add(1)) - 1; err == nil && i < len(questions); i = int(next.Add(1)) - 1 {
				err = replies[i].askEtcd(coredns, waypost, &questions[i])
			}
			return err
		})
	}
	return replies, group.Wait()
}

// askEtcd asks both servers a question. There are no caches: answers differ in age by as long as it takes to ask for both.
func (r *reply) askEtcd(coredns, waypost *ask.Conn, q *question.Question) error {
	asked := time.Now()
	*r = reply{Question: q, target: &target{}}
	r.again = func(q *question.Question) (*compare.Answer, error) { // not before all are asked: the connection is for one at a time
		a, err := exchange(coredns, q)
		if err != nil {
			return nil, fmt.Errorf("CoreDNS, asked %v: %w", q, err)
		}
		if r.failed == nil {
			cutAdditional(q, a, r.waypost)
		}
		r.age = time.Since(asked)
		return a, nil
	}
	r.waypost, r.failed = exchange(waypost, q)
	var err error
	r.coredns, err = r.again(q)
	return err
}

// cutAdditional leaves out of CoreDNS's answer the additional records that Waypost had no room for, as it does not compress
// the targets of SRV records (RFC 2782).
func cutAdditional(q *question.Question, coredns, waypost *compare.Answer) {
	var m dns.Msg
	if q.TCP || m.Unpack(q.Packet) != nil {
		return
	}
	limit := dns.MinMsgSize
	if opt := m.IsEdns0(); opt != nil {
		limit = max(limit, int(opt.UDPSize()))
	}
	const longest = 28 // an AAAA record with a compressed owner
	want, got := &coredns.Sections[2], waypost.Sections[2]
	if len(got) < len(*want) && waypost.Size+longest > limit {
		*want = (*want)[:len(got)]
	}
}

func dialServer(t *testing.T, d *lab.DNS) *ask.Conn {
	t.Helper()
	conn, err := ask.Dial(d.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	conn.Timeout, conn.Tries = replyTimeout, 1
	return conn
}

// etcdAway stops etcd and starts it again: names are failures meanwhile, but for what needs no etcd, and answers again as
// soon as it is there. A server that starts meanwhile does so too.
func etcdAway(t *testing.T, p *peers.Peers, e *lab.Etcd) {
	corefile := strings.ReplaceAll(etcdVariants[0].corefile, "ENDPOINT", e.URL)
	s := startServers(t, p, corefile, "", skydnsProbe)
	e.Stop()
	var questions []question.Question
	for _, name := range []string{skydnsProbe, "nosuch.example.org.", "www.out.example."} {
		questions = append(questions, question.About([]string{name}, 1, 1)...)
	}
	soa, err := new(dns.Msg).SetQuestion("x.example.org.", dns.TypeSOA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	questions = append(questions, question.Question{Packet: soa, Name: "x.example.org.", Type: dns.TypeSOA})
	compareEtcd(t, s, questions)
	late, err := lab.LaunchDNS(lab.DNSOptions{Name: "late", Program: p.Path("waypost"), Corefile: corefile, Port: waypostPort + 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(late.Stop)
	if err := e.Start(t.Context(), "skydns"); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*lab.DNS{s.coredns, s.waypost, late} {
		if err := d.WaitFor(t.Context(), skydnsProbe); err != nil {
			t.Error(err)
		}
	}
}

// TestEtcdSecured: over TLS with certificates on both sides, and with a password. Whoever has the wrong one does not start.
func TestEtcdSecured(t *testing.T) {
	p, err := peers.Find()
	if err != nil {
		t.Fatal(err)
	}
	identity := upstreamtest.NewIdentity(t)
	cert, key, ca := identity.Files(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: identity.Roots, Certificates: []tls.Certificate{identity.Certificate}}}}
	e, err := lab.StartEtcd(t.Context(), "secured", "https://127.0.0.1:22389", client,
		"--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	if err := e.Store(t.Context(), skydns("skydns", "example.org.")); err != nil {
		t.Fatal(err)
	}
	corefile := fmt.Sprintf("example.org {\n errors\n etcd {\n  endpoint %s\n  tls %s %s %s\n }\n}\n", e.URL, cert, key, ca)
	questions := question.About(skydnsNames("example.org."), 3, 300)
	t.Run("certificates", func(t *testing.T) {
		compareEtcd(t, startServers(t, p, corefile, "", skydnsProbe), questions)
	})
	for _, call := range []struct{ method, body string }{
		{"auth/user/add", `{"name":"root","password":"secret"}`}, {"auth/role/add", `{"name":"root"}`}, {"auth/user/grant", `{"user":"root","role":"root"}`},
		{"auth/enable", `{}`},
	} {
		var reply struct{}
		if err := e.Call(t.Context(), call.method, call.body, &reply); err != nil {
			t.Fatal(err)
		}
	}
	with := func(password string) string {
		return strings.Replace(corefile, "  tls", "  credentials root "+password+"\n  tls", 1)
	}
	t.Run("a password", func(t *testing.T) {
		compareEtcd(t, startServers(t, p, with("secret"), "", skydnsProbe), questions)
	})
	t.Run("no password", func(t *testing.T) { // of a certificate whose name is no user's
		s := servers{launchEtcd(t, p, "coredns", corefile, corednsPort), launchEtcd(t, p, "waypost", corefile, waypostPort)}
		for _, d := range []*lab.DNS{s.coredns, s.waypost} {
			awaitAnswer(t, d)
		}
		compareEtcd(t, s, questions[:20])
	})
	t.Run("a wrong password", func(t *testing.T) {
		for i, program := range []string{"coredns", "waypost"} {
			d := launchEtcd(t, p, program, with("guessed"), corednsPort+uint16(i))
			select {
			case <-d.Done():
			case <-time.After(patience):
				t.Errorf("%s goes on", program)
			}
			if !strings.Contains(d.Log(), "authentication failed, invalid user ID or password") {
				t.Errorf("%s says\n%s", program, d.LogEnd(5))
			}
		}
	})
	t.Run("a password, and etcd away at the start", func(t *testing.T) {
		e.Stop()
		d := launchEtcd(t, p, "waypost", with("secret"), waypostPort)
		awaitAnswer(t, d)
		if err := e.Start(t.Context(), "secured"); err != nil {
			t.Fatal(err)
		}
		if err := d.WaitFor(t.Context(), skydnsProbe); err != nil {
			t.Error(err)
		}
	})
}

// launchEtcd starts a server that perhaps answers nothing.
func launchEtcd(t *testing.T, p *peers.Peers, program, corefile string, port uint16) *lab.DNS {
	t.Helper()
	d, err := lab.LaunchDNS(lab.DNSOptions{Name: program, Program: p.Path(program), Corefile: corefile, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	return d
}

// awaitAnswer waits until a server answers a question that needs no etcd.
func awaitAnswer(t *testing.T, d *lab.DNS) {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longPatience)
	defer cancel()
	conn := dialServer(t, d)
	conn.Timeout = 100 * time.Millisecond
	for {
		if _, err := conn.UDP(packet); err == nil {
			return
		}
		select {
		case <-d.Done():
			t.Fatalf("%s has ended:\n%s", d.Name, d.LogEnd(5))
		case <-ctx.Done():
			t.Fatalf("%s does not answer:\n%s", d.Name, d.LogEnd(5))
		default:
		}
	}
}
