package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/ask"
	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/testdata/scenario"
)

// TestScenarios puts the objects of each scenario into a real API server and asks CoreDNS and Waypost its questions.
func TestScenarios(t *testing.T) {
	scenarios, err := scenario.ReadDir("../testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	control, p := startControlPlane(t)
	objects, err := control.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			parsed := parse(t, s.Objects)
			t.Cleanup(func() { remove(t, objects, parsed) })
			if err := objects.Create(t.Context(), parsed...); err != nil {
				t.Fatal(err)
			}
			run := startServers(t, p, s.Corefile("kubeconfig {$KUBECONFIG}"), control.Kubeconfig, "cluster.local.")
			for _, q := range s.Questions {
				check := func(d *lab.DNS, want scenario.Answer) {
					if err := answers(t.Context(), d, &q, want); err != nil {
						t.Errorf("line %d: %s: %s: %v", q.Line, d.Name, q.Command, err)
					}
				}
				check(run.coredns, q.CoreDNS)
				check(run.waypost, q.Waypost)
			}
		})
	}
}

// remove removes a scenario's objects and waits until they are gone.
func remove(t *testing.T, objects *lab.Objects, parsed []*lab.Object) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := objects.Delete(ctx, parsed...); err != nil {
		t.Error(err)
	}
	if err := objects.AwaitGone(ctx, parsed...); err != nil {
		t.Error(err)
	}
}

// settling is how long the controllers and the server may take until an answer is the wanted one.
const settling = time.Minute

// answers asks until the answer is the wanted one.
func answers(ctx context.Context, d *lab.DNS, q *scenario.Question, want scenario.Answer) error {
	conn, err := ask.Dial(d.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	packet, err := q.Message.Pack()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(settling); ; {
		diff, err := difference(conn, q, packet, want)
		if err == nil && diff == "" {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the answer differs\n%s", diff)
		}
		if time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

func difference(conn *ask.Conn, q *scenario.Question, packet []byte, want scenario.Answer) (string, error) {
	send := conn.UDP
	if q.TCP {
		send = conn.TCP
	}
	reply, err := send(packet)
	if err != nil {
		return "", err
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		return "", fmt.Errorf("unpack the answer: %w", err)
	}
	return want.Diff(&m), nil
}
