package nftables

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// Intrusion is that somebody else has changed the tables, or may have.
type Intrusion struct {
	Process string // its name, "" where the kernel did not tell
	PID     uint32 // in the watcher's own namespace, 0 likewise
	Lost    bool   // the kernel could not tell of all changes: nobody knows whether the tables are among what changed
}

// String is as in "changed by nft (pid 4711)".
func (i Intrusion) String() string {
	switch {
	case i.Lost:
		return "perhaps changed by somebody: some of the kernel's notifications were lost"
	case i.Process == "":
		return "changed by an unknown process"
	}
	return fmt.Sprintf("changed by %s (pid %d)", i.Process, i.PID)
}

// watchBuffer lets 8 MiB of notifications wait: somebody's transaction with some 50,000 elements.
const watchBuffer = 8 << 20

// Watcher listens to the kernel's notifications of changes to nf_tables. Its zero value is not usable; see Listen.
type Watcher struct {
	conn    *nfnetlink.Conn
	tables  *Tables
	own     uint32 // the port that the tables' own changes come from
	changed func(Intrusion)
	touched bool // the transaction whose end has not come yet changed something in the tables
}

// Listen begins to listen, in the network namespace of the thread that calls it: the one that the tables were opened in.
// Whatever somebody else changes after the Sync that comes first, Run tells; the Sync itself looks at everything anyway, and
// is half as long again where the kernel has to notify somebody of each element. Listen may be called while other methods run.
func (t *Tables) Listen() (*Watcher, error) {
	conn, err := nfnetlink.Dial(nfnetlink.Options{ReceiveBuffer: watchBuffer, Ignore: t.conn.Port()})
	if err == nil {
		err = t.audience.admit(conn)
	}
	if err != nil {
		return nil, fmt.Errorf("listen to changes of nftables: %w", err)
	}
	return &Watcher{conn: conn, tables: t, own: t.conn.Port()}, nil
}

// audience is who listens, or will once the first Sync is over.
type audience struct {
	mu      sync.Mutex
	open    bool
	waiting []*nfnetlink.Conn
}

// admit lets a connection listen now or later.
func (a *audience) admit(c *nfnetlink.Conn) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		a.waiting = append(a.waiting, c)
		return nil
	}
	return join(c)
}

func join(c *nfnetlink.Conn) error {
	if err := c.Join(unix.NFNLGRP_NFTABLES); err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// begin lets those listen who wait, and reports whether there are any. One that cannot is closed, which its Run tells.
func (a *audience) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting := a.waiting
	a.open, a.waiting = true, nil
	for _, c := range waiting {
		_ = join(c)
	}
	return len(waiting) > 0
}

// Run calls changed, one call at a time, after each transaction of somebody else that touched the tables: a Sync repairs
// what was done. The tables' own transactions are not told. It returns when ctx ends, or with an error when the kernel cannot
// be listened to any more; either way the Watcher is closed.
func (w *Watcher) Run(ctx context.Context, changed func(Intrusion)) error {
	w.changed = changed
	stop := context.AfterFunc(ctx, func() { w.conn.Close() })
	defer func() {
		if stop() {
			w.conn.Close()
		}
	}()
	for {
		err := w.conn.Receive(w.message)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.touched = false
			changed(Intrusion{Lost: true})
		case err != nil:
			return fmt.Errorf("listen to changes of nftables: %w", err)
		}
	}
}

// The attribute that names the table is the first of all objects, but for a table's own messages, where it is its name: both
// have the number 1.
const attributeTable = unix.NFTA_TABLE_NAME

// message reads a notification: what a transaction changed, then the message that ends the transaction and says who made it.
func (w *Watcher) message(m nfnetlink.Message) {
	switch {
	case m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Port == w.own:
	case m.Type == kindOf(unix.NFT_MSG_NEWGEN):
		if w.touched {
			w.changed(Intrusion{
				Process: nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_GEN_PROC_NAME)),
				PID:     nfnetlink.Uint32(nfnetlink.Attribute(m.Body, unix.NFTA_GEN_PROC_PID)),
			})
		}
		w.touched = false
	case m.Family == w.tables.families[0].number || m.Family == w.tables.families[1].number:
		if nfnetlink.String(nfnetlink.Attribute(m.Body, attributeTable)) == w.tables.table {
			w.touched = true
		}
	}
}
