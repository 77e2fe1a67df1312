package rewrite

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/waypost/waypost/message"
)

// EDNS changes an EDNS option of the request, as the steps behind and other servers see it.
type EDNS struct {
	Option string // local, nsid or subnet
	Action string // append, replace, set or unset
	Code   uint16 // of the option
	Data   []byte // of a local option without a variable
	// Variable is what a local option's data tell of the query: qname, qtype, client_ip, client_port, protocol, server_ip
	// or server_port. Default: "" for Data.
	Variable string
	V4, V6   int // of a subnet: how many bits of the client's address
	// Revert has the reply show nothing of the change. Default: false.
	Revert bool
}

// parseEDNS reads:
//
//	edns0 local append|replace|set CODE DATA|{VARIABLE} [revert]
//	edns0 local unset CODE
//	edns0 nsid append|replace|set|unset [revert]
//	edns0 subnet append|replace|set V4-BITS V6-BITS [revert]
//	edns0 subnet unset
func parseEDNS(args []string) (*EDNS, error) {
	if len(args) < 2 {
		return nil, errors.New("too few arguments for an EDNS0 rule")
	}
	e := &EDNS{Option: strings.ToLower(args[0]), Action: strings.ToLower(args[1])}
	switch e.Action {
	case "append", "replace", "set":
		if args[len(args)-1] == "revert" {
			e.Revert = true
			args = args[:len(args)-1]
		}
		return e, e.parse(args[min(2, len(args)):])
	case "unset":
		return e, e.parseUnset(args[2:])
	}
	return nil, fmt.Errorf("invalid action: %q", e.Action)
}

func (e *EDNS) parse(args []string) error {
	switch e.Option {
	case "local":
		if len(args) != 2 {
			return errors.New("EDNS0 local rules require three or four args")
		}
		if err := e.parseLocalCode(args[0]); err != nil {
			return err
		}
		return e.parseData(args[1])
	case "nsid":
		if len(args) != 0 {
			return errors.New("EDNS0 NSID rules can accept no more than one arg")
		}
		e.Code = message.OptionNSID
		return nil
	case "subnet":
		if len(args) != 2 {
			return errors.New("EDNS0 subnet rules require three or four args")
		}
		e.Code = message.OptionSubnet
		return e.parseBits(args)
	}
	return fmt.Errorf("invalid rule type %q", e.Option)
}

func (e *EDNS) parseUnset(args []string) error {
	switch e.Option {
	case "local":
		if len(args) != 1 {
			return errors.New("local unset action requires exactly two arguments")
		}
		return e.parseLocalCode(args[0])
	case "nsid", "subnet":
		if len(args) != 0 {
			return fmt.Errorf("%s unset action requires exactly one argument", e.Option)
		}
		e.Code = message.OptionNSID
		if e.Option == "subnet" {
			e.Code = message.OptionSubnet
		}
		return nil
	}
	return fmt.Errorf("invalid rule type %q", e.Option)
}

func (e *EDNS) parseLocalCode(text string) error {
	code, err := strconv.ParseUint(text, 0, 16)
	e.Code = uint16(code)
	return err
}

// parseData reads the data of a local option: a text, hexadecimal digits behind 0x, or a variable in braces.
func (e *EDNS) parseData(text string) error {
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		e.Variable = text[1 : len(text)-1]
		switch e.Variable {
		case "qname", "qtype", "client_ip", "client_port", "protocol", "server_ip", "server_port":
			return nil
		}
		if label := strings.Index(e.Variable, "/"); label > 0 && label < len(e.Variable)-1 {
			return fmt.Errorf("metadata is not supported by Waypost yet: leave %s out, no directive here has any", text)
		}
		return fmt.Errorf("unsupported variable name %q", text)
	}
	e.Data = []byte(text)
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		var err error
		e.Data, err = hex.DecodeString(digits)
		return err
	}
	return nil
}

// parseBits reads how many bits of an address a subnet has, for both families.
func (e *EDNS) parseBits(args []string) error {
	for i, to := range []*int{&e.V4, &e.V6} {
		bits, err := strconv.ParseUint(args[i], 0, 16)
		if err != nil {
			return err
		}
		if family, most := [...]string{"IPv4", "IPv6"}[i], [...]uint64{32, 128}[i]; bits > most {
			return fmt.Errorf("invalid %s bit mask length %d", family, bits)
		}
		*to = int(bits)
	}
	return nil
}

// apply changes the request's options. One of the action replace fits only a request that has the option.
func (e *EDNS) apply(c *change) bool {
	old, there := c.q.EDNS.Option(e.Code)
	switch {
	case e.Action == "unset":
		if there {
			c.options(func(edns *message.EDNS) { edns.Drop(e.Code) })
		}
		return true
	case e.Action == "replace" && !there, e.Action == "append" && there && (e.Variable != "" || e.Option == "subnet"):
		return false
	}
	replaced := there && e.Action != "append"
	if e.Revert {
		c.reverts = append(c.reverts, revert{code: e.Code, data: append([]byte(nil), old...), replaced: replaced})
	}
	data := e.data(c.q)
	c.options(func(edns *message.EDNS) {
		if replaced {
			edns.Drop(e.Code)
		}
		edns.Add(e.Code, data)
	})
	return true
}

// data are the data of the option.
func (e *EDNS) data(q *message.Query) []byte {
	client, server := q.From.Addr().Unmap(), q.Local.Addr().Unmap()
	switch {
	case e.Option == "nsid":
		return nil
	case e.Option == "subnet":
		return e.subnet(client)
	}
	switch e.Variable {
	case "qname":
		return message.AppendName(nil, q.Name())
	case "qtype":
		return binary.BigEndian.AppendUint16(nil, uint16(q.Type))
	case "client_ip":
		return client.AsSlice()
	case "client_port":
		return binary.BigEndian.AppendUint16(nil, q.From.Port())
	case "protocol":
		return []byte(q.Transport.String())
	case "server_ip":
		return server.AsSlice()
	case "server_port":
		return binary.BigEndian.AppendUint16(nil, q.Local.Port())
	}
	return e.Data
}

// subnet is the client subnet option (RFC 7871 section 6): family, source and scope prefix lengths, and as many bytes of
// the address as have bits.
func (e *EDNS) subnet(client netip.Addr) []byte {
	family, bits := byte(1), e.V4
	if client.Is6() {
		family, bits = 2, e.V6
	}
	prefix, err := client.WithZone("").Prefix(bits)
	if err != nil {
		return nil // bits are checked, so that a client's address always has them
	}
	return append([]byte{0, family, byte(bits), 0}, prefix.Addr().AsSlice()[:(bits+7)/8]...)
}

// revert is a change of an option that the reply is to show nothing of.
type revert struct {
	code     uint16
	data     []byte // what was there before
	replaced bool   // there was something
}

// apply takes the option out of a reply, or puts in what the client had sent.
func (v revert) apply(r *message.Reply) {
	if r.DropOption(v.code) && v.replaced {
		r.Option(v.code, v.data)
	}
}
