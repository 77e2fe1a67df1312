// Package chaos is the chaos directive: it answers the questions of class CH by which people find out what a server runs
// and where.
package chaos

import (
	"cmp"
	"math/rand/v2"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Chaos is the step of one server block.
type Chaos struct {
	version  []string
	hostname []string
	authors  []string
}

// New makes the step. Its block has to let class CH in.
func New(o Options, e env.Env) *Chaos {
	return &Chaos{
		version:  []string{cmp.Or(o.Version, trim("Waypost-"+e.Version))},
		hostname: []string{o.Hostname},
		authors:  o.Authors,
	}
}

// The names that have an answer.
const (
	authorsBind   message.Name = "\x07authors\x04bind\x00"
	versionBind   message.Name = "\x07version\x04bind\x00"
	versionServer message.Name = "\x07version\x06server\x00"
	hostnameBind  message.Name = "\x08hostname\x04bind\x00"
	idServer      message.Name = "\x02id\x06server\x00"
)

// Serve answers TXT of its own names, refuses what else is asked in class CH, and passes on the rest. You can try it with:
//
//	dig @127.0.0.1 CH TXT version.bind
func (c *Chaos) Serve(q *message.Query, r *message.Reply) message.Verdict {
	if q.Class != message.ClassCH {
		return message.Next
	}
	texts := c.texts(q)
	if texts == nil || q.Type != message.TypeTXT {
		r.Fail(message.Refused)
		return message.Done
	}
	r.By = "chaos"
	first := rand.IntN(len(texts))
	for i := range texts {
		text := texts[(first+i)%len(texts)]
		r.Record(message.Answer, message.QuestionAt, message.TypeTXT, 0)
		r.Uint8(uint8(len(text)))
		r.String(text)
		r.End()
	}
	return message.Done
}

// texts are what a name has, nil for another one.
func (c *Chaos) texts(q *message.Query) []string {
	switch string(q.Lower()) {
	case string(authorsBind):
		return c.authors
	case string(versionBind), string(versionServer):
		return c.version
	case string(hostnameBind), string(idServer):
		return c.hostname
	}
	return nil
}
