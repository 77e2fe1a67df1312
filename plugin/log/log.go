// Package log is the log directive: one line for each query and its reply.
package log

import (
	"context"
	"log/slog"
	"time"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/env"
)

// Log prints a line for each query whose name and reply a rule wants.
type Log struct {
	rules   []rule
	journal *journal.Journal
	log     *slog.Logger
}

type rule struct {
	zone    message.Name
	classes Classes
	nodes   []node
}

// New makes the observer of one server block.
func New(o Options, e env.Env) *Log {
	l := &Log{journal: e.Journal, log: e.Log}
	for _, r := range o.Rules {
		l.rules = append(l.rules, rule{zone: r.Zone, classes: r.Classes, nodes: compile(r.Format)})
	}
	return l
}

// Observe prints the line, if one is wanted. It allocates nothing, unless the line is longer than 512 bytes.
func (l *Log) Observe(q *message.Query, r *message.Reply) {
	rule := l.rule(q)
	if rule == nil || rule.classes != All && rule.classes&classify(q, r) == 0 {
		return
	}
	took := time.Since(q.Received)
	if l.journal.Format() == journal.JSON {
		l.object(q, r, took, string(rule.line(nil, q, r, took)))
		return
	}
	var space [512]byte
	line := rule.line(append(space[:0], "[INFO] "...), q, r, took)
	l.journal.Write(append(line, '\n'))
}

// rule is the first that has the name which the client asked for, nil where none does.
func (l *Log) rule(q *message.Query) *rule {
	for i := range l.rules {
		if q.First().Under(l.rules[i].zone) {
			return &l.rules[i]
		}
	}
	return nil
}

func (r *rule) line(line []byte, q *message.Query, reply *message.Reply, took time.Duration) []byte {
	for _, n := range r.nodes {
		line = n.append(line, q, reply, took)
	}
	return line
}

// object prints the query as one JSON object; the line is its message.
func (l *Log) object(q *message.Query, r *message.Reply, took time.Duration, line string) {
	l.log.LogAttrs(context.Background(), slog.LevelInfo, line,
		slog.String("client_ip", q.From.Addr().Unmap().String()),
		slog.Int("client_port", int(q.From.Port())),
		slog.String("qname", string(message.AppendName(nil, q.First().Lower()))),
		slog.String("qtype", dns.Type(q.Type).String()),
		slog.String("qclass", dns.Class(q.Class).String()),
		slog.String("protocol", q.Transport.String()),
		slog.Int("id", int(q.ID)),
		slog.Int("opcode", int(opcodeOf(q))),
		slog.Int("request_size", q.Size),
		slog.Bool("dnssec_ok", q.EDNS.DO),
		slog.Int("bufsize", bufsizeOf(q)),
		slog.String("rcode", string(node{value: rcode}.append(nil, q, r, took))),
		slog.Int("response_size", r.UncompressedLen()),
		slog.Float64("duration_seconds", took.Seconds()),
	)
}
