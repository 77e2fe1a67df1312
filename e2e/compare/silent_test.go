package compare

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/question"
)

// TestSilentOnce: a server that does not reply at first is asked once more before its silence is taken for a difference.
func TestSilentOnce(t *testing.T) {
	for name, servers := range map[string][2]int{"CoreDNS is slow": {1, 0}, "the other is slow": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			c := Comparison{CoreDNS: echo(t, servers[0]), Other: echo(t, servers[1]), Timeout: 50 * time.Millisecond, Tries: 1}
			packet, err := new(dns.Msg).SetQuestion("a.example.", dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			report, err := c.Run([]question.Question{{Packet: packet, Name: "a.example.", Type: dns.TypeA}})
			if err != nil || len(report.Differences) > 0 {
				t.Errorf("%v: %v", err, report)
			}
		})
	}
}

// echo sends back all messages but the first ones.
func echo(t *testing.T, ignored int) netip.AddrPort {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buf := make([]byte, 512)
		for asked := 1; ; asked++ {
			n, client, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if asked > ignored {
				server.WriteToUDPAddrPort(buf[:n], client)
			}
		}
	}()
	return server.LocalAddr().(*net.UDPAddr).AddrPort()
}
