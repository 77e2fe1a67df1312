package template

import (
	"encoding/binary"
	"errors"
	"strings"
	gotemplate "text/template"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/whole"
)

// values are what the template of a record can name, with CoreDNS's words.
type values struct {
	Zone   string            // of the rule
	Name   string            // that was asked for, in lower case
	Regex  string            // the pattern that matched
	Match  []string          // what it matched, and its groups
	Group  map[string]string // the groups by number and name
	Class  string            // of the question
	Type   string            // of the question; of the rule if the question is for ANY
	Remote string            // the client's address
	Var    map[string]any    // the rule's variables

	query   *message.Query
	request *dns.Msg
}

// Message is the whole request.
func (v *values) Message() (*dns.Msg, error) {
	var err error
	if v.request == nil {
		v.request, err = whole.Request(v.query)
	}
	return v.request, err
}

// Question is the request's question.
func (v *values) Question() (*dns.Question, error) {
	m, err := v.Message()
	if err != nil {
		return nil, err
	}
	return &m.Question[0], nil
}

// Meta is a value of the directive metadata, which is not there.
func (v *values) Meta(string) string { return "" }

// answer writes what the rule says. v may be nil for one without records. SERVFAIL is not written: as in CoreDNS that is left
// to the server, as are records that cannot be made, so that the directives in front see that nobody has answered.
func (t *Template) answer(q *message.Query, r *message.Reply, rule *rule, v *values, zone *zone) message.Verdict {
	labels := labels{server: q.Listener, zone: zone.text, view: t.view, class: uint16(q.Class), typ: rule.typeOf(q)}
	var m dns.Msg
	err := t.records(q, rule, v, labels, &m)
	if err == errWait {
		return message.Park
	}
	t.metrics.matched(labels)
	switch {
	case err != nil:
	case rule.Rcode == dns.RcodeServerFailure:
	case rule.plain:
		r.Rcode, r.Authoritative, r.By = message.Rcode(rule.Rcode), true, "template"
		rule.explain(r)
		return message.Done
	default:
		m.Authoritative, m.Rcode = true, rule.Rcode
		rule.explain(r)
		if err = whole.Write(q, r, &m); err == nil {
			r.By = "template"
			return message.Done
		}
	}
	r.Fail(message.ServFail)
	r.Err = err
	return message.Done
}

// errWait is returned for records of a query that may not wait for the whole of them.
var errWait = errors.New("the target of an alias has to be asked for")

// records makes the records of a rule, with what targets of aliases have.
func (t *Template) records(q *message.Query, rule *rule, v *values, l labels, m *dns.Msg) error {
	if rule.Rcode == dns.RcodeServerFailure {
		return nil
	}
	for _, template := range rule.Answer {
		rr, err := t.record(template, v, l)
		if err != nil {
			return err
		}
		m.Answer = append(m.Answer, rr)
		if cname, ok := rr.(*dns.CNAME); ok && (q.Type == message.TypeA || q.Type == message.TypeAAAA) {
			if !q.MayBlock {
				return errWait
			}
			follow(q, m, cname.Target)
		}
	}
	for _, template := range rule.Additional {
		rr, err := t.record(template, v, l)
		if err != nil {
			return err
		}
		m.Extra = append(m.Extra, rr)
	}
	for _, template := range rule.Authority {
		rr, err := t.record(template, v, l)
		if err != nil {
			return err
		}
		m.Ns = append(m.Ns, rr)
	}
	return nil
}

// explain adds the extended DNS error.
func (r *rule) explain(reply *message.Reply) {
	if r.Error != nil {
		reply.Option(message.OptionError, append(binary.BigEndian.AppendUint16(nil, r.Error.Code), r.Error.Text...))
	}
}

// follow appends what the target of an alias has, as far as that can be found out.
func follow(q *message.Query, m *dns.Msg, target string) {
	found, err := whole.Resolve(q, target, uint16(q.Type))
	if err != nil {
		return
	}
	m.Truncated = found.Truncated
	m.Answer = append(m.Answer, found.Answer...)
}

// errNoRecord is returned for a template that says nothing.
var errNoRecord = errors.New("the template makes no record")

// record makes a record.
func (t *Template) record(template *gotemplate.Template, v *values, l labels) (dns.RR, error) {
	var text strings.Builder
	if err := template.Execute(&text, v); err != nil {
		t.metrics.failed(t.metrics.templates, l, template)
		return nil, err
	}
	rr, err := dns.NewRR(text.String())
	if rr == nil && err == nil {
		err = errNoRecord
	}
	if err != nil {
		t.metrics.failed(t.metrics.records, l, template)
		return nil, err
	}
	return rr, nil
}
