package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
)

// DNSOptions say which DNS server to start, and how.
type DNSOptions struct {
	Name       string   // in messages and of the log
	Program    string   // a path
	Before     []string // what the program is started through, as "taskset", "-c", "0"
	Corefile   string   // may use {$KUBECONFIG}, {$HEALTH}, {$READY} and {$METRICS}
	Kubeconfig string   // the file that {$KUBECONFIG} stands for
	Port       uint16   // for server blocks that name none
	Probe      string   // a name that the server answers once it is ready
}

// DNS is a running DNS server.
type DNS struct {
	*Process
	Address                netip.AddrPort
	Health, Ready, Metrics netip.AddrPort // what the variables in the Corefile stand for
}

// StartDNS starts a server and returns it once it answers for Probe.
func StartDNS(ctx context.Context, o DNSOptions) (*DNS, error) {
	d, err := LaunchDNS(o)
	if err != nil {
		return nil, err
	}
	if err := d.WaitFor(ctx, o.Probe); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

// LaunchDNS starts a server without waiting for it.
func LaunchDNS(o DNSOptions) (*DNS, error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	d := &DNS{
		Address: netip.AddrPortFrom(loopback, o.Port),
		Health:  netip.AddrPortFrom(loopback, o.Port+1000),
		Ready:   netip.AddrPortFrom(loopback, o.Port+2000),
		Metrics: netip.AddrPortFrom(loopback, o.Port+3000),
	}
	corefile := filepath.Join(Folder(), o.Name+".Corefile")
	if err := os.WriteFile(corefile, []byte(o.Corefile), 0o644); err != nil {
		return nil, fmt.Errorf("write the Corefile of %s: %w", o.Name, err)
	}
	env := []string{"KUBECONFIG=" + o.Kubeconfig, "HEALTH=" + d.Health.String(), "READY=" + d.Ready.String(), "METRICS=" + d.Metrics.String()}
	command := append(append([]string(nil), o.Before...), o.Program, "-conf", corefile, "-dns.port", fmt.Sprint(o.Port))
	var err error
	d.Process, err = StartProcess(o.Name, env, command[0], command[1:]...)
	return d, err
}

// WaitFor returns once the server answers an A question for name without an error.
func (d *DNS) WaitFor(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := ask.Dial(d.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Timeout, conn.Tries = 100*time.Millisecond, 1
	question, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		return fmt.Errorf("pack a question for %s: %w", name, err)
	}
	return d.poll(ctx, "wait for "+d.Name, func() error {
		answer, err := conn.UDP(question)
		if err == nil && answer[3]&0xf != dns.RcodeSuccess {
			err = fmt.Errorf("rcode %d for %s", answer[3]&0xf, name)
		}
		return err
	})
}
