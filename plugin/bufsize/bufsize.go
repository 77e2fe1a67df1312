// Package bufsize is the bufsize directive: it keeps replies over UDP so small that they are not fragmented on the way.
package bufsize

import "github.com/waypost/waypost/message"

// Bufsize is the step of one server block.
type Bufsize struct{ size uint16 }

// New makes the step.
func New(o Options) Bufsize { return Bufsize{size: o.Size} }

// Serve lowers what the client says it can take, for the reply and for servers that are asked on the client's behalf, and
// announces the same size. It never raises it, and leaves clients without EDNS alone: they take 512 bytes.
func (b Bufsize) Serve(q *message.Query, r *message.Reply) message.Verdict {
	q.EDNS.UDPSize = min(q.EDNS.UDPSize, b.size)
	r.Announce(q, b.size)
	return message.Next
}
