// Package route sends packets: it lays out a small cluster in network namespaces, two nodes with Pods and a host outside,
// makes the kernel route as a plan wants, and looks who answers, what source address they see, and what is refused or
// silent. Its tests need root and touch no namespace but their own, which end with them.
package route

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/e2e/lab"
)

// Space is a network namespace. It ends when it is closed and nothing in it is open any more.
type Space struct {
	Name string
	file *os.File
	raw  sync.Mutex // one client over SCTP at a time: each hears what is said about any packet to its server's address
}

// NewSpace makes a namespace that has the loopback interface.
func NewSpace(name string) (*Space, error) {
	s := &Space{Name: name}
	err := apart(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare (as root): %w", err)
		}
		s.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	})
	if err == nil {
		// Addresses are known to be unique; without this they would not be used for a second or two.
		err = s.Sysctl(map[string]string{"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0"})
	}
	if err == nil {
		err = s.Do(func() error { return up("lo") })
	}
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return s, nil
}

// Here is the namespace that the program runs in.
func Here(name string) (*Space, error) {
	file, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the program's own network namespace: %w", err)
	}
	return &Space{Name: name, file: file}, nil
}

// ThisSpace is the namespace that the program runs in, but for the threads that Do uses: the first thread may be one of them.
func ThisSpace(name string) (*Space, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find the network namespace of the program: %w", err)
	}
	return &Space{Name: name, file: file}, nil
}

// Close lets go of the namespace.
func (s *Space) Close() error { return s.file.Close() }

// Do calls f on a thread in the namespace: what it opens stays there.
func (s *Space) Do(f func() error) error {
	return apart(func() error {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", s.Name, err)
		}
		return f()
	})
}

// apart calls f on a thread of its own that ends with it.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that nobody else gets the thread
		done <- f()
	}()
	return <-done
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// Bridge makes a bridge with addresses.
func (s *Space) Bridge(name string, addresses ...string) error {
	return s.Do(func() error {
		if _, err := lab.AddBridge(name); err != nil {
			return err
		}
		return assign(name, addresses)
	})
}

// assign gives a link addresses and brings it up.
func assign(name string, addresses []string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for _, text := range addresses {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if address.IP.To4() == nil {
			address.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, address); err != nil {
			return fmt.Errorf("add address %s to %s: %w", text, name, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// Plug connects the namespace's link name, which it makes and gives addresses, to a bridge in the namespace at.
func (s *Space) Plug(name string, at *Space, bridge string, addresses ...string) error {
	port := "to-" + s.Name
	err := at.Do(func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = port
		pair := &netlink.Veth{LinkAttrs: attributes, PeerName: name, PeerNamespace: netlink.NsFd(s.file.Fd())}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("add link %s: %w", port, err)
		}
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("find bridge %s: %w", bridge, err)
		}
		if err := netlink.LinkSetMaster(pair, master); err != nil {
			return fmt.Errorf("plug %s into %s: %w", port, bridge, err)
		}
		// As CNI plugins do: with bridge-nf-call-iptables a Pod's packet to itself turns back within the bridge.
		if err := netlink.LinkSetHairpin(pair, true); err != nil {
			return fmt.Errorf("let packets turn back at %s: %w", port, err)
		}
		return netlink.LinkSetUp(pair)
	})
	if err == nil {
		err = s.Do(func() error { return assign(name, addresses) })
	}
	if err != nil {
		return fmt.Errorf("connect %s to %s: %w", s.Name, at.Name, err)
	}
	return nil
}

// Unplug takes a link away that Plug made.
func (s *Space) Unplug(name string) error {
	return s.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		return netlink.LinkDel(link)
	})
}

// settle waits until the namespace's links carry packets. The kernel wakes a link's queue and a bridge's port some time after
// their other end came up, later if it is busy, and what is sent until then is lost.
func (s *Space) settle() error {
	return s.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("list the links of %s: %w", s.Name, err)
		}
		down := map[int]string{}
		for _, l := range links {
			if a := l.Attrs(); a.Flags&net.FlagLoopback == 0 {
				down[a.Index] = a.Name
			}
		}
		updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
		defer close(done)
		if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true}); err != nil {
			return fmt.Errorf("follow the links of %s: %w", s.Name, err)
		}
		for tooLate := time.After(Patience); len(down) > 0; {
			select {
			case u := <-updates:
				a := u.Link.Attrs()
				bridge := u.Link.Type() == "bridge" && a.OperState == netlink.OperUnknown // as one with an address of its own stays
				if a.OperState == netlink.OperUp || bridge {
					delete(down, a.Index)
				}
			case <-tooLate:
				return fmt.Errorf("links of %s stay down: %v", s.Name, slices.Sorted(maps.Values(down)))
			}
		}
		return up("lo") // waits for the kernel to finish with the link that came up last
	})
}

// Route adds a route.
func (s *Space) Route(to, via string) error {
	return s.Do(func() error {
		prefix := netip.MustParsePrefix(to)
		network := &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
		if err := netlink.RouteAdd(&netlink.Route{Dst: network, Gw: net.ParseIP(via)}); err != nil {
			return fmt.Errorf("%s: add a route to %s via %s: %w", s.Name, to, via, err)
		}
		return nil
	})
}

// Blackhole swallows what is routed to a range.
func (s *Space) Blackhole(to string) error {
	return s.Do(func() error {
		network, err := netlink.ParseIPNet(to)
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{Dst: network, Type: unix.RTN_BLACKHOLE}); err != nil {
			return fmt.Errorf("%s: swallow what is sent to %s: %w", s.Name, to, err)
		}
		return nil
	})
}

// Sysctl sets kernel parameters of the namespace, by their paths below /proc/sys.
func (s *Space) Sysctl(values map[string]string) error {
	return s.Do(func() error {
		var failed []error
		for path, value := range values {
			failed = append(failed, os.WriteFile("/proc/sys/"+path, []byte(value), 0))
		}
		return errors.Join(failed...)
	})
}
