package plugin_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/server"
	"github.com/waypost/waypost/upstream/upstreamtest"
)

// These tests try what the published vulnerabilities of CoreDNS and miekg/dns were, from the side of other DNS servers and
// of those who pretend to be one, against a whole Waypost over real sockets.

// hosted compiles and starts a Corefile of one server block for all names.
func hosted(t *testing.T, lines string) *server.Server {
	t.Helper()
	setup, _, err := compile(t, ".:0 {\nbind 127.0.0.1\n"+lines+"\n}")
	if err != nil {
		t.Fatal(err)
	}
	return served(t, setup)[0]
}

// answerTo packs an answer to a question: ADDRESS for its name.
func answerTo(t *testing.T, question []byte, address string) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(question); err != nil {
		t.Error(err)
		return new(dns.Msg)
	}
	m := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(q.Question[0].Name + " 300 IN A " + address)
	if err != nil {
		t.Error(err)
	}
	m.Answer = []dns.RR{rr}
	return m
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return packet
}

const right, poison = "192.0.2.1", "203.0.113.66"

// TestPoison: a reply that is not to the question that was asked reaches neither the client nor the cache, and the right one
// behind it does. Cure53 DNS-01-003 (2018): only the ID was looked at; CVE-2023-28452 "TuDoor": one wrong reply, and the
// forwarder gave up.
func TestPoison(t *testing.T) {
	liar := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		lie := func(change func(m *dns.Msg)) {
			m := answerTo(t, packet, poison)
			change(m)
			l.Send(pack(t, m), from)
		}
		l.Send(nil, from)
		l.Send([]byte{0}, from)
		l.Send(packet[:12], from)
		l.Send(packet, from) // the question itself
		lie(func(m *dns.Msg) { m.Id++ })
		lie(func(m *dns.Msg) { m.Question[0].Name = "other.example." })
		lie(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
		lie(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
		lie(func(m *dns.Msg) { m.Question = nil })
		lie(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		lie(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })
		m := answerTo(t, packet, right)
		extra, err := dns.NewRR("victim.example. 300 IN A " + poison)
		if err != nil {
			t.Error(err)
		}
		m.Extra = append(m.Extra, extra) // of no matter for what is kept under other names
		l.Send(pack(t, m), from)
	})
	s := hosted(t, "cache\nforward . "+liar.Addr.String()+patient)
	for _, name := range []string{"www.example.", "www.example.", "victim.example.", "victim.example."} {
		if reply := ask(t, s, "udp", name, dns.TypeA); len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != right {
			t.Errorf("%s: %v", name, reply)
		}
	}
}

// TestUnguessable: who wants to send a wrong reply has to guess ID and port, and neither helps to guess the next one.
// CVE-2019-19794: predictable IDs. CVE-2023-30464: the same question in flight many times is many guesses at once.
func TestUnguessable(t *testing.T) {
	const questions = 2000
	var mu sync.Mutex
	ids, ports, steps := map[uint16]int{}, map[uint16]int{}, map[uint16]int{}
	last := uint16(0)
	liar := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		id := binary.BigEndian.Uint16(packet)
		mu.Lock()
		ids[id]++
		ports[from.Port()]++
		steps[id-last]++
		last = id
		mu.Unlock()
		l.Send(pack(t, answerTo(t, packet, right)), from)
	})
	s := hosted(t, "forward . "+liar.Addr.String()+patient)
	for i := range questions {
		ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)
	}
	mu.Lock()
	defer mu.Unlock()
	// 2,000 of 65,536 at random are 1,970 different ones, give or take 6; so are the steps between them.
	if len(ids) < 1900 || len(steps) < 1900 || len(ports) < 64 {
		t.Errorf("%d questions had %d IDs with %d different steps, from %d ports", questions, len(ids), len(steps), len(ports))
	}
	for port, n := range ports {
		if n > questions/10 {
			t.Errorf("port %d was used %d times", port, n)
		}
	}
}

// TestBirthday: many clients that ask the same at once are one question.
func TestBirthday(t *testing.T) {
	held := make(chan struct{})
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-held
		upstreamtest.Answer(t, q.Question[0].Name+" 300 IN A "+right)(w, q)
	})
	s := hosted(t, "forward . "+origin.Addr.String()+patient)
	const clients = 200
	conns := make([]*dns.Conn, clients)
	for i := range conns {
		conn, err := dns.Dial("udp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("www.example.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	// A later question that is answered at once shows that all of them have been read, at least by one of the sockets.
	close(held)
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.ReadMsg(); err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v, %v", m, err)
		}
	}
	// Those that were read after the first reply began another flight; the point is that they did not begin 200.
	if n := origin.Asked.Load(); n > clients/4 {
		t.Errorf("%d questions at the origin", n)
	}
}

// TestCacheKey: a reply is given only to who asked the same in every respect. CVE-2024-0874: the bit CD was not looked at, so
// that an answer which failed validation was given to those who wanted it validated. What is there for one network (Client
// Subnet, RFC 7871 section 7.3) or in one class is for no other.
func TestCacheKey(t *testing.T) {
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		do := q.IsEdns0() != nil && q.IsEdns0().Do()
		text := fmt.Sprintf("cd=%t do=%t%s", q.CheckingDisabled, do, subnetOf(q))
		upstreamtest.Answer(t, q.Question[0].Name+` 300 IN TXT "`+text+`"`)(w, q)
	})
	s := hosted(t, "cache\nforward . "+origin.Addr.String()+patient)
	client := &dns.Client{Timeout: 20 * time.Second}
	subnets := []string{"", "192.0.2.0/24", "192.0.2.0/25", "198.51.100.0/24", "2001:db8::/48", "0.0.0.0/0"}
	for range 2 {
		for i := range 16 * len(subnets) {
			cd, do, ad, rd, subnet := i&1 != 0, i&2 != 0, i&4 != 0, i&8 == 0, subnets[i/16]
			q := new(dns.Msg).SetQuestion("www.example.", dns.TypeTXT)
			q.CheckingDisabled, q.AuthenticatedData, q.RecursionDesired = cd, ad, rd
			if do || subnet != "" {
				q.SetEdns0(1232, do)
			}
			want := fmt.Sprintf("cd=%t do=%t", cd, do)
			if subnet != "" {
				want += " for=" + subnet
				q.IsEdns0().Option = append(q.IsEdns0().Option, clientSubnet(subnet))
			}
			reply, _, err := client.Exchange(q, s.Addr().String())
			if err != nil || len(reply.Answer) != 1 || reply.Answer[0].(*dns.TXT).Txt[0] != want {
				t.Errorf("asked with %s: %v, %v", want, reply, err)
			}
			q.Question[0].Qclass = dns.ClassCHAOS
			if reply, _, err := client.Exchange(q, s.Addr().String()); err != nil || reply.Rcode != dns.RcodeRefused || len(reply.Answer) > 0 {
				t.Errorf("asked with %s in class CH: %v, %v", want, reply, err)
			}
		}
	}
}

// clientSubnet is the EDNS option of a network.
func clientSubnet(text string) *dns.EDNS0_SUBNET {
	prefix := netip.MustParsePrefix(text)
	family := uint16(1)
	if prefix.Addr().Is6() {
		family = 2
	}
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(prefix.Bits()), Address: prefix.Addr().AsSlice()}
}

// subnetOf is what a question says of the client's network.
func subnetOf(q *dns.Msg) string {
	if opt := q.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
				return fmt.Sprintf(" for=%s/%d", subnet.Address, subnet.SourceNetmask)
			}
		}
	}
	return ""
}

// TestTTL: nothing is kept for longer than the Corefile says, whatever TTL it comes with. CVE-2025-58063: a number cast to a
// TTL pinned entries for years.
func TestTTL(t *testing.T) {
	var ttl atomic.Uint32
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		upstreamtest.Answer(t, fmt.Sprintf("%s %d IN A %s", q.Question[0].Name, ttl.Load(), right))(w, q)
	})
	s := hosted(t, "cache 60\nforward . "+origin.Addr.String()+patient)
	for i, most := range map[uint32]uint32{0: 5, 1<<31 - 1: 60, 1 << 31: 60, 1<<32 - 1: 60} {
		ttl.Store(i)
		for range 2 {
			reply := ask(t, s, "udp", fmt.Sprintf("t%d.example.", i), dns.TypeA)
			if len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl > most {
				t.Errorf("TTL %d: %v", i, reply)
			}
		}
	}
}

// TestMutated: an upstream's reply may be anything. What cannot be read is SERVFAIL, nothing panics, and the next query is
// answered. Trail of Bits 2022 (several panics); CVE-2025-23028 was the same in Cilium's proxy.
func TestMutated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	liar := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		m := answerTo(t, packet, right)
		for _, text := range []string{"alias.example. 60 IN CNAME www.example.", "example. 60 IN MX 5 mail.example.", "s.example. 60 IN SRV 1 2 3 t.example.", "example. 60 IN TXT \"a\" \"b\""} {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		m.Compress = true
		reply := pack(t, m)
		mu.Lock()
		defer mu.Unlock()
		head := len(packet) // ID and question stay, so that it counts as a reply
		for range 1 + random.IntN(6) {
			switch at := head + random.IntN(len(reply)-head); random.IntN(4) {
			case 0:
				reply[at] = byte(random.Uint32())
			case 1:
				reply[at] = 0xc0 // a pointer, to wherever
			case 2:
				reply = reply[:max(at, head+1)]
			case 3:
				reply[6+random.IntN(6)] = byte(random.Uint32()) // one of the counts
			}
		}
		l.Send(reply, from)
	})
	metrics := free(t)
	s := hosted(t, "prometheus "+metrics+"\ncache\nforward . "+liar.Addr.String()+" {\nread_timeout 20ms\nmax_fails 0\nmax_connect_attempts 1\n}")
	for i := range 400 {
		question := pack(t, new(dns.Msg).SetQuestion(fmt.Sprintf("m%d.example.", i), dns.TypeA))
		reply := exchange(t, s, question)
		// What is in a record that Waypost does not take apart is the client's to read.
		if len(reply) < len(question) || !bytes.Equal(reply[:2], question[:2]) || reply[2]&0x80 == 0 || !bytes.Equal(reply[12:len(question)], question[12:]) {
			t.Errorf("%x", reply)
		}
	}
	if page := fetch(t, "http://"+metrics+"/metrics"); !strings.Contains(page, "\ncoredns_panics_total 0\n") {
		t.Error("something panicked")
	}
}

// exchange sends a message over UDP and returns what comes back.
func exchange(t *testing.T, s *server.Server, message []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 65535)
	n, err := conn.Read(reply)
	if err != nil {
		t.Fatal(err)
	}
	return reply[:n]
}

// TestWrongCertificate: a server over TLS that cannot show who it is is not asked, neither over TLS nor in the open.
func TestWrongCertificate(t *testing.T) {
	trusted, other := upstreamtest.NewIdentity(t, "dns.example"), upstreamtest.NewIdentity(t, "dns.example")
	_, _, authority := trusted.Files(t)
	for _, tt := range []struct {
		name     string
		identity *upstreamtest.Identity
		server   string
		rcode    int
	}{
		{"the right one", trusted, "dns.example", dns.RcodeSuccess},
		{"another authority's", other, "dns.example", dns.RcodeServerFailure},
		{"another name's", trusted, "evil.example", dns.RcodeServerFailure},
	} {
		origin := upstreamtest.StartTLS(t, tt.identity, func(w dns.ResponseWriter, q *dns.Msg) {
			upstreamtest.Answer(t, q.Question[0].Name+" 300 IN A "+right)(w, q)
		})
		s := hosted(t, "forward . tls://"+origin.Addr.String()+" {\ntls "+authority+"\ntls_servername "+tt.server+"\nread_timeout 30s\nmax_connect_attempts 1\n}")
		if reply := ask(t, s, "udp", "www.example.", dns.TypeA); reply.Rcode != tt.rcode || tt.rcode != dns.RcodeSuccess && origin.Asked.Load() > 0 {
			t.Errorf("%s: %v, asked %d times", tt.name, reply, origin.Asked.Load())
		}
	}
}

// TestFlood: random names below one that is forwarded fill the cache up to its capacity, and no further.
func TestFlood(t *testing.T) {
	liar := upstreamtest.StartLiar(t, func(l *upstreamtest.Liar, packet []byte, from netip.AddrPort) {
		m := answerTo(t, packet, right)
		if strings.HasPrefix(m.Question[0].Name, "n") { // half of them do not exist
			m.Answer, m.Rcode = nil, dns.RcodeNameError
			soa, err := dns.NewRR("example. 300 IN SOA a. b. 1 2 3 4 300")
			if err != nil {
				t.Error(err)
			}
			m.Ns = []dns.RR{soa}
		}
		l.Send(pack(t, m), from)
	})
	metrics := free(t)
	s := hosted(t, "prometheus "+metrics+"\ncache {\nsuccess 1024\ndenial 1024\n}\nforward . "+liar.Addr.String()+patient)
	for i := range 3000 {
		ask(t, s, "udp", fmt.Sprintf("%c%d.flood.example.", "ny"[i%2], i), dns.TypeA)
	}
	entries := regexp.MustCompile(`(?m)^coredns_cache_entries\{.*type="(\w+)".*\} (\d+)$`).FindAllStringSubmatch(fetch(t, "http://"+metrics+"/metrics"), -1)
	if len(entries) != 2 {
		t.Fatalf("%d kinds of entries", len(entries))
	}
	for _, kind := range entries {
		if n, err := strconv.Atoi(kind[2]); err != nil || n < 256 || n > 1024 {
			t.Errorf("%s: %s entries of 1024", kind[1], kind[2])
		}
	}
}

// TestAliasesWithoutEnd: aliases that lead on and on are answered, with what there is or with a failure, and not followed for
// ever: those of template and rewrite, which look the targets up, and those that an upstream gives.
func TestAliasesWithoutEnd(t *testing.T) {
	origin := upstreamtest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		name := q.Question[0].Name
		var chain []string
		for i := range 100 {
			chain = append(chain, fmt.Sprintf("%s 60 IN CNAME a%d.%s", name, i, q.Question[0].Name))
			name = fmt.Sprintf("a%d.%s", i, q.Question[0].Name)
		}
		upstreamtest.Answer(t, chain...)(w, q)
	})
	s := hosted(t, `cache
template IN ANY self.example {
    answer "{{ .Name }} 60 IN CNAME {{ .Name }}"
}
template IN ANY next.example {
    match ^(.*)next\.example\.$
    answer "{{ .Name }} 60 IN CNAME a{{ .Name }}"
}
rewrite cname suffix up.example. again.up.example.
forward . `+origin.Addr.String()+patient)
	before := origin.Asked.Load()
	for _, name := range []string{"self.example.", "x.next.example.", "www.up.example.", "long.example."} {
		if reply := ask(t, s, "tcp", name, dns.TypeA); reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: %v", name, reply)
		}
	}
	if n := origin.Asked.Load() - before; n > 100 {
		t.Errorf("the origin was asked %d times for two names", n)
	}
}

// TestNonsenseFiles: a resolv.conf or hosts file may be anything. What is no server or host is left out, or the error says
// what is wrong; nothing is read without end.
func TestNonsenseFiles(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		write(t, path, text)
		return path
	}
	random := make([]byte, 1<<16)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	var crowd strings.Builder
	for i := range 16 {
		fmt.Fprintf(&crowd, "nameserver 192.0.2.%d\n", i)
	}
	for _, tt := range []struct{ lines, want string }{
		{"forward . " + file("some", "nameserver\nnameserver x\nnameserver 300.1.1.1\noptions ndots:5\nnameserver 192.0.2.1 more\nnameserver "+strings.Repeat("9", 5000)+"\n"), ""},
		{"forward . " + file("none", "nameserver x\n"), "no valid upstream addresses found"},
		{"forward . " + file("random", string(random)), "no valid upstream addresses found"},
		{"forward . " + file("crowd", crowd.String()), "more than 15 TOs configured: 16"},
		{"forward . /dev/zero", "not a plain file"},
		{"forward . " + folder, "not a plain file"},
		{"hosts " + file("hosts", strings.Repeat("192.0.2.1 ", 1<<18)+"\n"+strings.Repeat("x", 1<<20)+"\n"+string(random)), ""},
		{"hosts /dev/zero", ""},
		{"autopath " + file("path", string(random)), ""},
	} {
		setup, _, err := compile(t, ". {\n"+tt.lines+"\n}")
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %s", tt.lines, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.lines, err)
			continue
		}
		if err := setup.Start(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.lines, err)
		}
		setup.Stop()
	}
}
