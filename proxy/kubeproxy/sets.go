package kubeproxy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// sets are the sets of ipset, to which the rules of kube-proxy's IPVS mode refer.
type sets struct {
	conn  *nfnetlink.Conn // nil where the kernel has no such sets
	names []string        // kube-proxy's
}

// port is one that a node is open on.
type port struct {
	protocol uint8
	number   uint16
}

// Commands and attributes of ipset, from linux/netfilter/ipset/ip_set.h.
const (
	setProtocol = 6 // the version that all kernels speak
	destroySet  = 3 // IPSET_CMD_DESTROY
	listSets    = 7 // IPSET_CMD_LIST

	attributeProtocol = 1
	attributeName     = 2
	attributeFlags    = 6
	attributeEntries  = 8 // IPSET_ATTR_ADT, of which each has:
	entryPort         = 4
	entryProtocol     = 7

	onlyNames = 1 << 1 // IPSET_FLAG_LIST_SETNAME

	errBusy = unix.Errno(4100) // IPSET_ERR_BUSY: a rule refers to it
)

// openSets finds kube-proxy's sets.
func openSets() (*sets, error) {
	if _, err := os.Stat("/sys/module/ip_set"); errors.Is(err, os.ErrNotExist) {
		return &sets{}, nil
	}
	conn, err := nfnetlink.Dial(nfnetlink.Options{})
	if err != nil {
		return nil, fmt.Errorf("open ipset: %w", err)
	}
	s := &sets{conn: conn}
	var b nfnetlink.Buffer
	begin(&b, listSets, nfnetlink.Dump)
	b.Uint32(attributeFlags|unix.NLA_F_NET_BYTEORDER, onlyNames)
	b.End()
	err = s.conn.Ask(&b, func(m nfnetlink.Message) error {
		if name := nfnetlink.String(nfnetlink.Attribute(m.Body, attributeName)); isSet(name) {
			s.names = append(s.names, name)
		}
		return nil
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("list the sets of ipset: %w", err)
	}
	return s, nil
}

func (s *sets) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

func begin(b *nfnetlink.Buffer, command, flags uint16) {
	b.Begin(unix.NFNL_SUBSYS_IPSET<<8|command, flags, unix.AF_INET)
	b.Value(attributeProtocol, []byte{setProtocol})
}

// isSet reports whether kube-proxy makes sets of that name.
func isSet(name string) bool {
	rest, ok := strings.CutPrefix(name, "KUBE-")
	if !ok {
		return false
	}
	switch rest = strings.TrimPrefix(rest, "6-"); rest {
	case "LOOP-BACK", "CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL", "HEALTH-CHECK-NODE-PORT", "IPVS-IPS",
		"LOAD-BALANCER", "LOAD-BALANCER-LOCAL", "LOAD-BALANCER-FW", "LOAD-BALANCER-SOURCE-IP", "LOAD-BALANCER-SOURCE-CIDR",
		"LOAD-BALANCER-SOURCE-CID": // with 6- it would be too long for a set's name
		return true
	}
	return strings.HasPrefix(rest, nodePortSets)
}

// nodePortSets is what the names of sets of node ports have behind KUBE- and 6-, before the protocol.
const nodePortSets = "NODE-PORT-"

// nodePorts are the node ports in the sets.
func (s *sets) nodePorts() (map[port]bool, error) {
	ports := map[port]bool{}
	for _, name := range s.names {
		if !strings.Contains(name, nodePortSets) || strings.Contains(name, "HEALTH-CHECK") {
			continue
		}
		var b nfnetlink.Buffer
		begin(&b, listSets, nfnetlink.Dump)
		b.Text(attributeName, name)
		b.End()
		err := s.conn.Ask(&b, func(m nfnetlink.Message) error {
			for _, entry := range nfnetlink.Attributes(nfnetlink.Attribute(m.Body, attributeEntries)) {
				ports[portIn(name, entry)] = true
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the set %s of ipset: %w", name, err)
		}
	}
	return ports, nil
}

// portIn is the port of an entry of a set, whose name says the protocol where the entry does not.
func portIn(set string, entry []byte) port {
	p := port{number: nfnetlink.Uint16(nfnetlink.Attribute(entry, entryPort))}
	switch protocol := nfnetlink.Attribute(entry, entryProtocol); {
	case len(protocol) == 1:
		p.protocol = protocol[0]
	case strings.HasSuffix(set, "-UDP"):
		p.protocol = unix.IPPROTO_UDP
	default:
		p.protocol = unix.IPPROTO_TCP
	}
	return p
}

// The kernel lets go of a removed rule's set when it has the time.
const (
	setPause    = 20 * time.Millisecond
	setPatience = 2 * time.Second // for all sets together
)

// destroy takes the sets away.
func (s *sets) destroy() (removed []string, err error) {
	var failed []error
	gone := 0
	until := time.Now().Add(setPatience)
	for _, name := range s.names {
		var b nfnetlink.Buffer
		begin(&b, destroySet, nfnetlink.Acknowledge)
		b.Text(attributeName, name)
		b.End()
		err := s.conn.Execute(&b)
		for errors.Is(err, errBusy) && time.Now().Before(until) {
			time.Sleep(setPause)
			err = s.conn.Execute(&b)
		}
		switch {
		case errors.Is(err, errBusy):
			failed = append(failed, fmt.Errorf("remove the set %s of ipset: a rule of somebody else refers to it", name))
		case err != nil && !errors.Is(err, unix.ENOENT):
			failed = append(failed, fmt.Errorf("remove the set %s of ipset: %w", name, err))
		default:
			gone++
		}
	}
	if gone > 0 {
		removed = append(removed, fmt.Sprintf("sets of ipset (%d)", gone))
	}
	return removed, errors.Join(failed...)
}
