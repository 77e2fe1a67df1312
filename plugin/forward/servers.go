package forward

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/plugin/relay"
	"github.com/waypost/waypost/upstream"
	"github.com/waypost/waypost/watch/files"
)

// servers are those that a line of forward leads to. What a file says of them is followed as it changes.
type servers struct {
	forward *Forward
	now     atomic.Pointer[[]*upstream.Server]

	mu     sync.Mutex
	hosts  map[int][]netip.Addr // addresses of the To that are host names, by index
	files  map[int][]netip.AddrPort
	watch  *files.Follower
	closed bool
}

func (s *servers) init(f *Forward) {
	s.forward = f
	s.hosts, s.files = make(map[int][]netip.Addr), make(map[int][]netip.AddrPort)
	s.now.Store(new([]*upstream.Server))
}

// all are the servers, in the order of the Corefile. The slice is not to be changed.
func (s *servers) all() []*upstream.Server { return *s.now.Load() }

// Servers are those that questions go to by now.
func (f *Forward) Servers() []*upstream.Server { return f.servers.all() }

// Start finds out the addresses of host names, reads the files, and begins to follow those. The error names what could not
// be resolved or read.
func (f *Forward) Start(ctx context.Context) error {
	s := &f.servers
	for i, to := range f.options.To {
		if to.Host == "" {
			continue
		}
		addrs, err := lookup(ctx, to.Host, f.options.Resolver)
		if err != nil {
			return fmt.Errorf("plugin/forward: failed to resolve %q: %w", to.Host, err)
		}
		s.hosts[i] = addrs
	}
	for _, path := range f.files() {
		addrs, err := relay.ReadResolvConf(path)
		if err != nil {
			return fmt.Errorf("plugin/forward: %w", err)
		}
		s.take(path, addrs)
	}
	s.update()
	s.follow(f.files())
	return nil
}

// Stop ends what goes on without questions. Those in flight have their replies.
func (f *Forward) Stop() {
	s := &f.servers
	s.mu.Lock()
	s.closed = true
	watch := s.watch
	s.mu.Unlock()
	if watch != nil {
		watch.Close()
	}
	for _, server := range s.all() {
		server.Close()
	}
}

// files are those that the Corefile names.
func (f *Forward) files() []string {
	var files []string
	for _, to := range f.options.To {
		if to.File != "" && !slices.Contains(files, to.File) {
			files = append(files, to.File)
		}
	}
	return files
}

// take takes over what a file says.
func (s *servers) take(path string, addrs []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, to := range s.forward.options.To {
		if to.File == path {
			s.files[i] = addrs
		}
	}
}

// reread takes over what a file says by now. One that cannot be read, or names no servers, changes nothing.
func (s *servers) reread(path string) error {
	addrs, err := relay.ReadResolvConf(path)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("read the servers of %s: there are none", path)
	}
	if err != nil {
		return fmt.Errorf("%w; forwarding to %s as before", err, s)
	}
	before := s.String()
	s.take(path, addrs)
	s.update()
	if after := s.String(); after != before {
		s.forward.log.Info(fmt.Sprintf("%s has changed: forwarding to %s", path, after))
	}
	return nil
}

// String lists the servers.
func (s *servers) String() string {
	var names []string
	for _, server := range s.all() {
		names = append(names, server.String())
	}
	return strings.Join(names, ", ")
}

// update makes the list of servers anew. One that was there before stays as it is.
func (s *servers) update() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	old := s.all()
	list := []*upstream.Server{}
	for _, t := range s.targets() {
		i := slices.IndexFunc(old, func(server *upstream.Server) bool { return targetOf(server) == t })
		if i >= 0 {
			list = append(list, old[i])
		} else {
			list = append(list, s.forward.newServer(t))
		}
	}
	s.now.Store(&list)
	for _, server := range old {
		if !slices.Contains(list, server) {
			server.Close()
		}
	}
}

// target is what tells servers from each other.
type target struct {
	addr       netip.AddrPort
	protocol   upstream.Protocol
	serverName string
}

func targetOf(s *upstream.Server) target {
	return target{s.Addr(), s.Protocol(), strings.ToLower(s.ServerName())}
}

// targets are the servers that are wanted, each once. The caller holds mu.
func (s *servers) targets() []target {
	var list []target
	add := func(addr netip.AddrPort, to To) {
		t := target{addr, cmp.Or(to.Protocol, upstream.Plain), ""}
		if t.protocol != upstream.Plain {
			t.serverName = strings.ToLower(cmp.Or(to.ServerName, s.forward.options.TLSServerName))
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	for i, to := range s.forward.options.To {
		switch {
		case to.File != "":
			for _, addr := range s.files[i] {
				add(addr, to)
			}
		case to.Host != "":
			for _, addr := range s.hosts[i] {
				add(netip.AddrPortFrom(addr, to.Port), to)
			}
		default:
			add(to.Addr, to)
		}
	}
	return list
}

// newServer makes a server as the options say.
func (f *Forward) newServer(t target) *upstream.Server {
	o := &f.options
	dial := patience / 2 // so that there is time to try another one
	if o.MaxConnectAttempts == 1 {
		dial = patience
	}
	return upstream.New(upstream.Config{
		Addr: t.addr, Protocol: t.protocol, TLS: o.TLS, ServerName: t.serverName, Method: o.DoHMethod, Source: o.Source,
		Read: o.ReadTimeout, Dial: dial, Expire: o.Expire, MaxAge: o.MaxAge, MaxIdle: o.MaxIdleConns,
		Probe:   upstream.Probe{Interval: max(o.HealthCheck, 1), Domain: cmp.Or(o.HealthDomain, message.Root), NoRecurse: o.HealthNoRecurse, TCP: o.ForceTCP},
		Metrics: f.metrics.servers,
	})
}
