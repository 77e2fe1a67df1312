package plan_test

import (
	"strings"
	"testing"

	"github.com/waypost/waypost/proxy/account"
)

// print is what `waypost-proxy routes` prints of all Services.
func (w *world) print(kernel *account.Kernel) string {
	w.t.Helper()
	var b strings.Builder
	for _, key := range w.plan.Services() {
		s, ok := w.plan.Account(key)
		if !ok {
			w.t.Fatalf("%s is listed but not known", key)
		}
		if kernel != nil {
			kernel.Compare(&s)
		}
		if err := s.Print(&b); err != nil {
			w.t.Fatal(err)
		}
	}
	return b.String()
}

func TestAccounts(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		node a 192.0.2.10 zone=z1
		service prod/web 10.96.0.1 port=http:80/tcp:30080 port=admin:81/tcp external=192.0.2.10 affinity=60
		slice prod/web-1 web port=http:8080/tcp 10.1.0.1@a,zone=z1 10.1.0.2@b,zone=z2 10.1.0.3@b,unready 10.1.0.4@a,leaving 10.1.0.5,dying 127.0.0.1
		slice prod/web-2 web port=other:8080/tcp 10.1.0.9
		slice prod/web-3 web port=http:8080/tcp 10.1.0.9 headless
		slice prod/web-4 web port=http:8080/tcp fqdn=a.example.com
		service prod/local 10.96.0.2 fd00::2 port=:53/udp internal-local
		slice prod/local-1 local port=:53/udp 10.1.0.1@b
		slice prod/local-2 local port=:53/udp fd01::1@a
		service prod/lb 10.96.0.3 port=http:80/tcp lb=203.0.113.1 from=198.51.100.0/24 external-local
		slice prod/lb-1 lb port=http:80/tcp 10.1.0.1@a,node=b 10.1.0.2@b,node=a
		service prod/out external-name
	`)
	if got := w.print(nil); got != wantAccounts {
		t.Errorf("printed:\n%s\nwant:\n%s", got, wantAccounts)
	}
}

const wantAccounts = `prod/lb
  10.96.0.3:80/tcp    to 1 endpoint; masqueraded unless from a Pod
  203.0.113.1:80/tcp  Pods and the node to 1 endpoint, others to 1 endpoint on this node; only from 198.51.100.0/24
  http/tcp, IPv4: 2 of 2 endpoints
    10.1.0.1:80  on a  ready  only as one of this node
    10.1.0.2:80  on b  ready
prod/local
  10.96.0.2:53/udp  dropped: no endpoint on this node, and the policy is Local
  udp, IPv4: 0 of 1 endpoint
    10.1.0.1:53  on b  ready  not used: it is not on this node, and the policy is Local
  [fd00::2]:53/udp  to 1 endpoint; masqueraded unless from a Pod
  udp, IPv6: 1 of 1 endpoint
    [fd01::1]:53  on a  ready  only as one of this node
prod/out
  no routes: a Service of type ExternalName has no address
prod/web
  10.96.0.1:80/tcp  to 1 endpoint; masqueraded unless from a Pod; a client stays for 60s
  *4:30080/tcp      to 1 endpoint; masqueraded; a client stays for 60s
  http/tcp, IPv4: 1 of 5 endpoints
    10.1.0.1:8080  on a  ready
    10.1.0.2:8080  on b  ready  not used: its hints leave it to z2
    10.1.0.3:8080  on b  unready  not used: it is not ready
    10.1.0.4:8080  on a  leaving  not used: it is being deleted, and others are ready
    10.1.0.5:8080  dying  not used: it is being deleted and serves no more
  10.96.0.1:81/tcp  rejected: no endpoint serves
  admin/tcp, IPv4: 0 of 0 endpoints
  slice web-2 is not used: none of its ports has the name and protocol of one of the Service's
  slice web-3 is not used: the label service.kubernetes.io/headless keeps it from proxies
  slice web-4 is not used: its endpoints are names
  refused: external IP 192.0.2.10: it is the address of a node
  refused: endpoint 127.0.0.1:8080 of slice web-1: a loopback address
`

func TestAccountsBesideTheKernel(t *testing.T) {
	w := newWorld(t, atA)
	w.tell(`
		service prod/same 10.96.0.1 port=http:80/tcp
		slice prod/same-1 same port=http:80/tcp 10.1.0.1 10.1.0.2
		service prod/other 10.96.0.2 port=http:80/tcp:30080
		slice prod/other-1 other port=http:80/tcp 10.1.0.3
	`)
	routes := w.plan.Wanted().Routes
	kernel := account.NewKernel(routes)
	if got := w.print(kernel); strings.Contains(got, "KERNEL") || len(kernel.Left()) > 0 {
		t.Errorf("the kernel has what is wanted, but:\n%s", got)
	}
	w.tell(`
		service prod/new 10.96.0.3 port=http:80/tcp
		slice prod/same-1 same port=http:80/tcp 10.1.0.2 10.1.0.1
		slice prod/other-1 other port=http:80/tcp 10.1.0.4
		service prod/other 10.96.0.2 port=http:80/tcp affinity=60
	`)
	kernel = account.NewKernel(routes)
	if got := w.print(kernel); got != wantDifferences {
		t.Errorf("printed:\n%s\nwant:\n%s", got, wantDifferences)
	}
	if left := kernel.Left(); len(left) != 1 || left[0].Frontend.String() != "*4:30080/tcp" {
		t.Errorf("left are %v", left)
	}
}

const wantDifferences = `prod/new
  10.96.0.3:80/tcp  rejected: no endpoint serves
                    THE KERNEL DIFFERS: nothing
  http/tcp, IPv4: 0 of 0 endpoints
prod/other
  10.96.0.2:80/tcp  to 1 endpoint; masqueraded unless from a Pod; a client stays for 60s
                    THE KERNEL DIFFERS: affinity 0s
  http/tcp, IPv4: 1 of 1 endpoint
    10.1.0.4:80  ready
prod/same
  10.96.0.1:80/tcp  to 2 endpoints; masqueraded unless from a Pod
  http/tcp, IPv4: 2 of 2 endpoints
    10.1.0.1:80  ready
    10.1.0.2:80  ready
`
