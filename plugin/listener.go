package plugin

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/waypost/waypost/config"
	"github.com/waypost/waypost/message"
	"github.com/waypost/waypost/server"
)

// Listener is an address with the server blocks that are asked there.
type Listener struct {
	// Name is the listener as metrics and messages have it: "dns://:53".
	Name string
	// Server is what to give to package server.
	Server server.Config

	host  string
	port  uint16
	zones []string // of all blocks
}

// Banner are the lines that say which zones the listener serves, as CoreDNS prints them.
func (l *Listener) Banner() []string {
	var lines []string
	for _, zone := range l.zones {
		if warning := config.ZoneWarning(zone); warning != "" {
			lines = append(lines, warning)
		}
		line := zone + ":" + strconv.Itoa(int(l.port))
		if l.host != "" {
			line += " on " + l.host
		}
		lines = append(lines, line)
	}
	return lines
}

// listen groups the zones of all blocks by the addresses where they are asked.
func (s *Setup) listen() error {
	var zones []config.Listener
	for _, b := range s.blocks {
		for _, k := range b.config.Keys {
			for _, host := range b.hosts {
				zones = append(zones, config.Listener{Key: k, Address: host, View: b.takes != nil})
			}
		}
	}
	if err := config.CheckListeners(zones); err != nil {
		return err
	}
	for _, b := range s.blocks {
		for _, host := range b.hosts {
			if err := s.listenFor(b, host); err != nil {
				return err
			}
		}
	}
	for _, l := range s.Listeners {
		slices.Sort(l.zones)
		l.zones = slices.Compact(l.zones) // blocks with a view share them
	}
	return nil
}

// listenFor adds a block to its listeners at one host: as many as its zones have different ports.
func (s *Setup) listenFor(b *block, host string) error {
	byPort := map[uint16]*server.Block{}
	for _, k := range b.config.Keys {
		l := s.listener(k.Scheme, host, k.Port)
		compiled, ok := byPort[k.Port]
		if !ok {
			var err error
			if compiled, err = b.compile(l.Name); err != nil {
				return err
			}
			byPort[k.Port] = compiled
			l.Server.Blocks = append(l.Server.Blocks, compiled)
		}
		zone, err := message.ParseName(k.Zone)
		if err != nil {
			return k.Pos.Errorf("%w", err)
		}
		compiled.Zones = append(compiled.Zones, zone)
		l.zones = append(l.zones, k.Zone)
	}
	return nil
}

// compile makes what the server runs for the block at one listener.
func (b *block) compile(listener string) (*server.Block, error) {
	compiled := &server.Block{Takes: b.takes, Label: b.label(), Steps: b.steps, Last: b.last(), Chaos: b.chaos}
	for _, observer := range slices.Backward(b.observers) { // the reply comes by the last one first
		o, err := observer(listener)
		if err != nil {
			return nil, err
		}
		compiled.Observers = append(compiled.Observers, o)
	}
	return compiled, nil
}

// listener is the one at an address, new where there was none.
func (s *Setup) listener(scheme config.Scheme, host string, port uint16) *Listener {
	addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
	name := string(scheme) + "://" + addr
	for _, l := range s.Listeners {
		if l.Name == name {
			return l
		}
	}
	c := s.compiler // the server outlives the Setup
	log := c.options.Journal.Logger("")
	l := &Listener{Name: name, host: host, port: port, Server: server.Config{
		Addr: addr, Name: name,
		Dropped: c.metrics.Dropped(name),
		Panic:   func(value any, stack []byte) { c.panicked(name, value, stack) },
		Logf:    func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...)) },
	}}
	s.Listeners = append(s.Listeners, l)
	return l
}
