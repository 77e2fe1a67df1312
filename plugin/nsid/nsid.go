// Package nsid is the nsid directive: it tells clients that ask for it which server answers (RFC 5001).
package nsid

import "github.com/waypost/waypost/message"

// NSID is the step of one server block.
type NSID struct{ name []byte }

// New makes the step.
func New(o Options) *NSID { return &NSID{name: []byte(o.Name)} }

// Serve has the reply, whatever becomes of it, carry the server's name if the client asks for that. Unlike in CoreDNS
// errors do so too: that is when one wants to know which of the servers it was. You can try it with:
//
//	dig +nsid example.org
func (n *NSID) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if _, asked := q.EDNS.Option(message.OptionNSID); asked {
		r.Option(message.OptionNSID, n.name)
	}
	return message.Next
}
