package nftables

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/kubeproxy"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// RemoveOwn takes away this program's tables, package conntrack's among them, and returns what was there.
func (t *Tables) RemoveOwn() (removed []string, err error) {
	t.synced = false
	return t.remove(func(f *family) ([]string, error) { return t.removeTables(f, t.table, t.table+"-late") })
}

// RemoveKubeProxy takes away what kube-proxy has left behind in nftables, once this program routes in its place: its tables, and
// its chains in the tables of iptables (of iptables-nft, whose tables are nftables' too), with the rules that lead to them.
// kubeproxy.Remove takes away the rest. It returns what was there, and is called as Apply is.
func (t *Tables) RemoveKubeProxy() (removed []string, err error) {
	return t.remove(func(f *family) ([]string, error) {
		tables, err := t.removeTables(f, "kube-proxy") // of its nftables mode
		if err != nil {
			return nil, err
		}
		chains, err := t.removeChains(f)
		return append(tables, chains...), err
	})
}

// remove takes away what one of the two finds. Where somebody changes something meanwhile it begins again.
func (t *Tables) remove(find func(*family) ([]string, error)) (removed []string, err error) {
	for range readTries {
		removed, err = t.removeOnce(find)
		if !errors.Is(err, nfnetlink.ErrInterrupted) && !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	return removed, err
}

func (t *Tables) removeOnce(find func(*family) ([]string, error)) (removed []string, err error) {
	t.snapshot = nil
	t.tx = newTransaction(t.table, &t.families)
	for i := range t.families {
		found, err := find(&t.families[i])
		if err != nil {
			return nil, fmt.Errorf("clean up: %w", err)
		}
		removed = append(removed, found...)
	}
	if err := t.tx.commit(t.conn); err != nil {
		return nil, fmt.Errorf("clean up: %w", err)
	}
	return removed, nil
}

// removeTables takes away those of some tables that are there.
func (t *Tables) removeTables(f *family, unwanted ...string) (found []string, err error) {
	tables, err := t.tableNames(f)
	if err != nil {
		return nil, err
	}
	for _, name := range unwanted {
		if slices.Contains(tables, name) {
			t.tx.deleteTable(f, name)
			found = append(found, "table "+f.word+" "+name)
		}
	}
	return found, nil
}

// removeChains takes kube-proxy's chains out of the tables of iptables.
func (t *Tables) removeChains(f *family) (found []string, err error) {
	tables, err := t.tableNames(f)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"nat", "filter", "mangle"} {
		if !slices.Contains(tables, name) {
			continue
		}
		chains, err := t.cleanupIPTables(f, name)
		if err != nil {
			return nil, err
		}
		if chains > 0 {
			found = append(found, fmt.Sprintf("chains of table %s %s (%d)", f.word, name, chains))
		}
	}
	return found, nil
}

func (t *Tables) tableNames(f *family) (names []string, err error) {
	err = t.eachTable(f, func(name string, _ uint32) { names = append(names, name) })
	return names, err
}

// cleanupIPTables takes kube-proxy's chains out of a table of iptables, and returns how many there are.
func (t *Tables) cleanupIPTables(f *family, table string) (chains int, err error) {
	old := iptables{Tables: t, family: f, name: table}
	if err := old.read(); err != nil {
		return 0, fmt.Errorf("read table %s %s of iptables: %w", f.word, table, err)
	}
	tx := transaction{table: table, messages: t.tx.messages, notes: t.tx.notes}
	for _, r := range old.leading {
		tx.begin(f, unix.NFT_MSG_DELRULE, 0, "delete a rule of chain", r.chain)
		tx.messages.Text(unix.NFTA_RULE_TABLE, table)
		tx.messages.Text(unix.NFTA_RULE_CHAIN, r.chain)
		tx.messages.Value(unix.NFTA_RULE_HANDLE, r.handle)
		tx.messages.End()
	}
	for _, c := range old.chains {
		tx.flush(f, c)
	}
	for _, c := range old.chains {
		tx.deleteChain(f, c)
	}
	t.tx.messages, t.tx.notes = tx.messages, tx.notes
	return len(old.chains), nil
}

// iptables is a table of iptables-nft, and what kube-proxy has in it.
type iptables struct {
	*Tables
	family  *family
	name    string
	chains  []string      // kube-proxy's
	leading []leadingRule // that lead to them, in other chains
}

type leadingRule struct {
	chain  string
	handle []byte
}

func (o *iptables) read() error {
	err := o.dump(unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, func(m nfnetlink.Message) {
		if name := nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_CHAIN_NAME)); kubeproxy.IsChain(name) {
			o.chains = append(o.chains, name)
		}
	})
	if err != nil {
		return err
	}
	return o.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, func(m nfnetlink.Message) {
		chain := nfnetlink.String(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_CHAIN))
		target := target(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_EXPRESSIONS))
		if kubeproxy.IsChain(target) && !kubeproxy.IsChain(chain) {
			o.leading = append(o.leading, leadingRule{chain, slices.Clone(nfnetlink.Attribute(m.Body, unix.NFTA_RULE_HANDLE))})
		}
	})
}

func (o *iptables) dump(what, tableAttribute uint16, each func(nfnetlink.Message)) error {
	var b nfnetlink.Buffer
	b.Begin(kindOf(what), nfnetlink.Dump, o.family.number)
	b.Text(tableAttribute, o.name)
	b.End()
	return o.conn.Ask(&b, func(m nfnetlink.Message) error {
		if nfnetlink.String(nfnetlink.Attribute(m.Body, tableAttribute)) == o.name && m.Family == o.family.number {
			each(m)
		}
		return nil
	})
}

// target is the chain that a rule jumps or goes to, "" where it does not.
func target(expressions []byte) string {
	for _, e := range nfnetlink.Attributes(expressions) {
		if nfnetlink.String(nfnetlink.Attribute(e, unix.NFTA_EXPR_NAME)) != "immediate" {
			continue
		}
		data := nfnetlink.Attribute(nfnetlink.Attribute(e, unix.NFTA_EXPR_DATA), unix.NFTA_IMMEDIATE_DATA)
		verdict := nfnetlink.Attribute(data, unix.NFTA_DATA_VERDICT)
		if chain := nfnetlink.Attribute(verdict, unix.NFTA_VERDICT_CHAIN); chain != nil {
			return nfnetlink.String(chain)
		}
	}
	return ""
}
