package e2e

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/waypost/waypost/e2e/compare"
)

// departure is a row of docs/differences.md about what is forwarded, kept or made by other directives than kubernetes. It
// changes what CoreDNS answered, as changed by those before it, into what Waypost must answer, or returns nil.
type departure struct {
	name  string
	apply func(f *corefile, r *reply, want *compare.Answer) *compare.Answer
}

var forwardDepartures = []departure{
	{"EDNS size and bits in replies", replySize},
	{"an Extended DNS Error with a failure", extendedError},
	{"a denial behind an alias is kept as long as its SOA says", keptDenial},
	{"names of the cluster's zones are not kept", notKept},
	{"classes other than IN are refused", otherClass},
	{"CD is the client's", clientCD},
	{"nsid leaves DO as the client has it", clientDO},
	{"EDNS options that an upstream sends back", returnedOptions},
	{"EDNS options do not come back without a cache either", heldOptions},
	{"AD is asked for without a cache too", askedAD},
	{"a truncated reply is asked for again over TCP", notTruncated},
}

// replySize is the same with bufsize, which is 1232 in all files that have it.
func replySize(_ *corefile, _ *reply, want *compare.Answer) *compare.Answer {
	if want.None || want.OPT == nil {
		return nil
	}
	w := want.Clone()
	if w.Rcode >= 16 && w.Rcode != dns.RcodeBadVers { // the upper bits, which mean nothing in a question
		w.Rcode &= 0xf
	}
	w.OPT.Size = compare.OwnSize
	w.OPT.Flags &= bitDO
	return w
}

// notKept applies to names in the zones of kubernetes, whoever answers them: the cache neither keeps them nor cuts their TTLs.
func notKept(f *corefile, r *reply, want *compare.Answer) *compare.Answer {
	inZone := slices.ContainsFunc(f.zones, func(zone string) bool { return dns.IsSubDomain(zone, r.Name) })
	if want.None || !r.target.kube || !inZone {
		return nil
	}
	w := want.Clone()
	for i := range w.Sections {
		for j := range w.Sections[i] {
			for _, rec := range r.waypost.Sections[i] {
				if rec.Type == w.Sections[i][j].Type && rec.Data == w.Sections[i][j].Data {
					w.Sections[i][j].TTL = max(rec.TTL, w.Sections[i][j].TTL)
				}
			}
		}
	}
	return w
}

// otherClass applies where chaos does not answer for its own names.
func otherClass(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	var m dns.Msg
	if want.None || want.Rcode == dns.RcodeBadVers && r.waypost.Rcode == dns.RcodeBadVers || m.Unpack(r.Packet) != nil || len(m.Question) == 0 || m.Question[0].Qclass == dns.ClassINET ||
		len(want.Sections[0]) > 0 && m.Question[0].Qclass == dns.ClassCHAOS && want.Sections[0][0].Type == dns.TypeTXT && r.target.chaos {
		return nil
	}
	w := want.Clone()
	w.Sections, w.Rcode = [3][]compare.Record{}, dns.RcodeRefused
	w.Flags &= bitQR | bitRD | bitCD
	if w.OPT != nil {
		w.OPT.Options, w.OPT.Flags = "", 0
		if m.IsEdns0() != nil && m.IsEdns0().Do() {
			w.OPT.Flags = bitDO
		}
	}
	return w
}

// clientCD applies to forwarded answers.
func clientCD(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	if want.None {
		return nil
	}
	w := want.Clone()
	w.Flags = w.Flags&^bitCD | binary.BigEndian.Uint16(r.Packet[2:])&bitCD
	return w
}

// nsid is how options begin whose first is NSID.
const nsid = "\x00\x03"

func clientDO(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	if want.None || want.OPT == nil || !strings.HasPrefix(want.OPT.Options, nsid) {
		return nil
	}
	var m dns.Msg
	if m.Unpack(r.Packet) != nil || m.IsEdns0() == nil || m.IsEdns0().Do() {
		return nil
	}
	w := want.Clone()
	w.OPT.Flags = 0
	return w
}

// returnedOptions applies where an upstream sends back an option of the client's that is passed on. In CoreDNS such options do
// not come through the cache.
func returnedOptions(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	got := r.waypost
	if want.None || got.None || want.OPT == nil || got.OPT == nil || want.OPT.Options != "" || !strings.HasSuffix(string(r.Packet), got.OPT.Options) {
		return nil
	}
	w := want.Clone()
	w.OPT.Options = got.OPT.Options
	return w
}

// uncached tells files in which CoreDNS passes on headers and options as they come, for want of a cache.
func uncached(f *corefile) bool { return !strings.Contains(f.text, "cache") }

// heldOptions applies to options that an upstream sends, of which Waypost passes on Extended DNS Errors alone.
func heldOptions(f *corefile, r *reply, want *compare.Answer) *compare.Answer {
	got := r.waypost
	if !uncached(f) || want.None || got.None || want.OPT == nil || got.OPT == nil || got.OPT.Options != "" {
		return nil
	}
	w := want.Clone()
	w.OPT.Options = ""
	return w
}

// askedAD applies to errors, in which the resolver sends the AD bit of the question back (RFC 6840 section 5.7).
func askedAD(f *corefile, r *reply, want *compare.Answer) *compare.Answer {
	if !uncached(f) || want.None || r.waypost.None || want.Rcode != dns.RcodeRefused && want.Rcode != dns.RcodeFormatError {
		return nil
	}
	w := want.Clone()
	w.Flags |= r.waypost.Flags & bitAD
	return w
}

// extendedError takes any reason that is given for a failure (RFC 8914): option 15, of which one is there.
func extendedError(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	got := r.waypost
	if want.None || got.None || want.OPT == nil || got.OPT == nil || want.Rcode != dns.RcodeServerFailure || want.OPT.Options != "" ||
		!strings.HasPrefix(got.OPT.Options, "\x00\x0f") || len(got.OPT.Options) != 4+int(got.OPT.Options[2])<<8+int(got.OPT.Options[3]) {
		return nil
	}
	w := want.Clone()
	w.OPT.Options = got.OPT.Options
	return w
}

// keptDenial applies to NXDOMAIN behind a CNAME, which CoreDNS does not keep and sends with the floor of its cache for TTL.
func keptDenial(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	if want.None || want.Rcode != dns.RcodeNameError || len(want.Sections[0]) == 0 || want.Sections[0][0].TTL != floor {
		return nil
	}
	w := want.Clone()
	for i := range w.Sections {
		for j := range w.Sections[i] {
			if i < len(r.waypost.Sections) && j < len(r.waypost.Sections[i]) {
				w.Sections[i][j].TTL = r.waypost.Sections[i][j].TTL
			}
		}
	}
	return w
}

// floor is the lowest TTL, in seconds, that a cache gives.
const floor = 5

// notTruncated applies where Waypost has the whole answer, which fits, and CoreDNS passes on a part.
func notTruncated(_ *corefile, r *reply, want *compare.Answer) *compare.Answer {
	got := r.waypost
	if want.None || got.None || want.Flags&bitTC == 0 || got.Flags&bitTC != 0 || len(got.Sections[0]) < len(want.Sections[0]) || got.Size > r.Limit() {
		return nil
	}
	w := want.Clone()
	w.Flags &^= bitTC
	w.Sections = got.Sections
	return w
}
