package kubeproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// device is the link that has the Services' addresses in kube-proxy's IPVS mode.
const device = "kube-ipvs0"

// removeIPVS takes away what kube-proxy's IPVS mode has: virtual servers, sets, and last the device, by whose addresses the
// virtual servers are told from others', such as keepalived's.
func removeIPVS() (removed []string, err error) {
	sets, err := openSets()
	if err != nil {
		return nil, err
	}
	defer sets.close()
	ports, err := sets.nodePorts()
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return sets.destroy()
	}
	if err != nil {
		return nil, fmt.Errorf("find the link %s: %w", device, err)
	}
	servers, err := removeServers(link, ports)
	if servers > 0 {
		removed = append(removed, fmt.Sprintf("virtual servers of IPVS (%d)", servers))
	}
	if err != nil {
		return removed, err
	}
	gone, err := sets.destroy()
	removed = append(removed, gone...)
	if failed := netlink.LinkDel(link); failed != nil { // else the node would go on taking the Services' addresses for its own
		return removed, errors.Join(err, fmt.Errorf("remove the link %s: %w", device, failed))
	}
	return append(removed, "link "+device), err
}

// removeServers removes the virtual servers whose addresses a link has, and those of node ports. It returns how many.
func removeServers(link netlink.Link, nodePorts map[port]bool) (removed int, err error) {
	if _, err := os.Stat("/proc/thread-self/net/ip_vs"); errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("list the addresses of %s: %w", device, err)
	}
	addresses := map[netip.Addr]bool{}
	for _, a := range list {
		address, _ := netip.AddrFromSlice(a.IP)
		addresses[address.Unmap()] = true
	}
	family, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		return 0, fmt.Errorf("open IPVS: %w", err)
	}
	servers, err := ask(family.ID, getServer, unix.NLM_F_DUMP, nil)
	if err != nil {
		return 0, fmt.Errorf("list the virtual servers of IPVS: %w", err)
	}
	for _, message := range servers {
		s, ok := parseServer(message)
		if !ok || !addresses[s.at.Addr()] && !nodePorts[port{s.protocol, s.at.Port()}] {
			continue
		}
		if _, err := ask(family.ID, deleteServer, unix.NLM_F_ACK, s.name); err != nil && !errors.Is(err, unix.ESRCH) {
			return removed, fmt.Errorf("remove the virtual server %s of IPVS: %w", s.at, err)
		}
		removed++
	}
	return removed, nil
}

// Commands and attributes of IPVS, from linux/ip_vs.h.
const (
	ipvsVersion  = 1
	deleteServer = 3 // IPVS_CMD_DEL_SERVICE
	getServer    = 4 // IPVS_CMD_GET_SERVICE

	attributeServer = 1 // IPVS_CMD_ATTR_SERVICE, in which there are:
	serverFamily    = 1 // IPVS_SVC_ATTR_AF
	serverProtocol  = 2
	serverAddress   = 3 // 16 bytes
	serverPort      = 4
)

func ask(family uint16, command uint8, flags int, body []byte) ([][]byte, error) {
	request := nl.NewNetlinkRequest(int(family), flags)
	request.AddData(&nl.Genlmsg{Command: command, Version: ipvsVersion})
	request.AddRawData(body)
	return request.Execute(unix.NETLINK_GENERIC, 0)
}

// server is a virtual server of IPVS.
type server struct {
	protocol uint8
	at       netip.AddrPort
	name     []byte // the attribute that a command names it by
}

// parseServer reads what IPVS tells of a virtual server; false for one of a firewall mark.
func parseServer(message []byte) (server, bool) {
	told := nfnetlink.Attribute(message[min(nl.SizeofGenlmsg, len(message)):], attributeServer)
	var name []byte
	value := func(kind uint16) []byte {
		v := nfnetlink.Attribute(told, kind)
		name = nfnetlink.AppendAttribute(name, kind, v)
		return v
	}
	family, protocol, address, number := value(serverFamily), value(serverProtocol), value(serverAddress), value(serverPort)
	if len(family) != 2 || len(protocol) != 2 || len(address) != 16 || len(number) != 2 {
		return server{}, false
	}
	if binary.NativeEndian.Uint16(family) == unix.AF_INET {
		address = address[:4]
	}
	a, _ := netip.AddrFromSlice(address)
	return server{
		protocol: uint8(binary.NativeEndian.Uint16(protocol)), at: netip.AddrPortFrom(a, nfnetlink.Uint16(number)),
		name: nfnetlink.AppendAttribute(nil, attributeServer, name),
	}, true
}
