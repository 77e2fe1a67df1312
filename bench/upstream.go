package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
)

// upstreamZone has an address for every name in upstream.example.
const upstreamZone = `$ORIGIN upstream.example.
$TTL 3600
@ SOA ns.upstream.example. hostmaster.upstream.example. 1 7200 1800 86400 60
@ NS ns
ns A 192.0.2.1
* A 192.0.2.2
`

const knotConfig = `server:
    rundir: %[1]s
    listen: %[2]s@%[3]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[1]s
zone:
  - domain: upstream.example
    file: %[1]s/upstream.example.zone
`

// startUpstream starts Knot with upstream.example, on the processor that dnsperf has.
func startUpstream(ctx context.Context, address netip.AddrPort) (*lab.Process, error) {
	folder := filepath.Join(lab.Folder(), "knot")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "knot.conf")
	text := fmt.Sprintf(knotConfig, folder, address.Addr(), address.Port())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write Knot's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "upstream.example.zone"), []byte(upstreamZone), 0o644); err != nil {
		return nil, fmt.Errorf("write Knot's zone: %w", err)
	}
	p, err := lab.StartProcess("knot", nil, "taskset", "-c", dnsperfCore, "knotd", "-c", config)
	if err != nil {
		return nil, err
	}
	if err := awaitName(ctx, p, address, "up.upstream.example."); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

const unboundConfig = `server:
    interface: %[1]s@%[2]d
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    do-daemonize: no
    username: ""
    chroot: ""
    pidfile: ""
    logfile: ""
    use-syslog: no
    num-threads: 1
    module-config: "iterator"
    so-rcvbuf: 8m
    outgoing-range: 4096
    num-queries-per-thread: 2048
forward-zone:
    name: "."
    forward-addr: %[3]s@%[4]d
remote-control:
    control-enable: no
`

// startUnbound starts Unbound as a forwarder with a cache, on the processor of the server that is measured.
func startUnbound(ctx context.Context, address, upstream netip.AddrPort) (*lab.Process, error) {
	config := filepath.Join(lab.Folder(), "unbound.conf")
	text := fmt.Sprintf(unboundConfig, address.Addr(), address.Port(), upstream.Addr(), upstream.Port())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write Unbound's configuration: %w", err)
	}
	p, err := lab.StartProcess("unbound", nil, "taskset", "-c", serverCore, "unbound", "-d", "-c", config)
	if err != nil {
		return nil, err
	}
	if err := awaitName(ctx, p, address, "up.upstream.example."); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// awaitName returns once a server that was just started answers an A question with an address.
func awaitName(ctx context.Context, p *lab.Process, server netip.AddrPort, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		if resolves(server, name) {
			return nil
		}
		select {
		case <-pace.C:
		case <-p.Done():
			return fmt.Errorf("%s has ended:\n%s", p.Name, p.LogEnd(20))
		case <-ctx.Done():
			return fmt.Errorf("%s at %s does not answer for %s:\n%s", p.Name, server, name, p.LogEnd(20))
		}
	}
}

// resolves reports whether a server answers one A question with a record.
func resolves(server netip.AddrPort, name string) bool {
	conn, err := ask.Dial(server)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.Timeout, conn.Tries = 100*time.Millisecond, 1
	question, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		return false
	}
	answer, err := conn.UDP(question)
	reply := new(dns.Msg)
	return err == nil && reply.Unpack(answer) == nil && len(reply.Answer) > 0
}
