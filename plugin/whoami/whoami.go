// Package whoami is the whoami directive: it tells clients who they are. It is what the built-in Corefile serves.
package whoami

import (
	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
)

// Parse checks the directive, which has no options:
//
//	whoami
func Parse(d *config.Directive) error {
	c := d.Dispenser()
	for c.Next() {
		if c.NextArg() {
			return c.ArgErr()
		}
	}
	return nil
}

// Whoami is the step of one server block.
type Whoami struct{}

// Serve answers every name with the client's address, and its port in an SRV record, in the additional section. You can
// try it with: dig @127.0.0.1 -p 1053 any.name
func (Whoami) Serve(q *message.Query, r *message.Reply) message.Verdict {
	r.By = "whoami"
	r.Authoritative = true
	address := q.From.Addr().Unmap()
	typ := message.TypeA
	if address.Is6() {
		typ = message.TypeAAAA
	}
	r.Record(message.Additional, message.QuestionAt, typ, 0)
	r.Bytes(address.AsSlice())
	r.End()

	var owner [message.MaxNameLen]byte
	label := "_" + q.Transport.String()
	name := append(append(append(owner[:0], byte(len(label))), label...), q.Name()...)
	if len(name) > message.MaxNameLen {
		return message.Done
	}
	r.RecordNamed(message.Additional, name, message.TypeSRV, 0)
	r.Uint16(0) // priority
	r.Uint16(0) // weight
	r.Uint16(q.From.Port())
	r.Bytes([]byte(message.Root))
	r.End()
	return message.Done
}
