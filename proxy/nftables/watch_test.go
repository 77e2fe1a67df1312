package nftables

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/proxy/nfnetlink"
)

// heard is what a watcher of table "waypost" says about messages.
func heard(messages ...nfnetlink.Message) (said []string) {
	t := unconnected()
	t.table = "waypost"
	w := Watcher{tables: t, own: 7, changed: func(i Intrusion) { said = append(said, i.String()) }}
	for _, m := range messages {
		w.message(m)
	}
	return said
}

func event(what uint16, family uint8, port uint32, table string) nfnetlink.Message {
	return nfnetlink.Message{
		Type: kindOf(what), Family: family, Port: port,
		Body: nfnetlink.AppendAttribute(nil, attributeTable, append([]byte(table), 0)),
	}
}

func generation(port uint32, process string) nfnetlink.Message {
	body := nfnetlink.AppendAttribute(nil, unix.NFTA_GEN_ID, []byte{0, 0, 0, 9})
	if process != "" {
		body = nfnetlink.AppendAttribute(body, unix.NFTA_GEN_PROC_PID, []byte{0, 0, 0x12, 0x67})
		body = nfnetlink.AppendAttribute(body, unix.NFTA_GEN_PROC_NAME, append([]byte(process), 0))
	}
	return nfnetlink.Message{Type: kindOf(unix.NFT_MSG_NEWGEN), Port: port, Body: body}
}

func TestWatcherTellsOfOthersChangesToOurTables(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages []nfnetlink.Message
		want     []string
	}{
		{"an element of ours", []nfnetlink.Message{event(unix.NFT_MSG_DELSETELEM, unix.NFPROTO_IPV4, 8, "waypost"), generation(8, "nft")},
			[]string{"changed by nft (pid 4711)"}},
		{"many of ours at once", []nfnetlink.Message{
			event(unix.NFT_MSG_DELRULE, unix.NFPROTO_IPV6, 8, "waypost"), event(unix.NFT_MSG_DELTABLE, unix.NFPROTO_IPV6, 8, "waypost"), generation(8, ""),
		}, []string{"changed by an unknown process"}},
		{"others' tables", []nfnetlink.Message{event(unix.NFT_MSG_NEWRULE, unix.NFPROTO_IPV4, 8, "filter"), generation(8, "nft")}, nil},
		{"a table of that name elsewhere", []nfnetlink.Message{event(unix.NFT_MSG_NEWTABLE, unix.NFPROTO_INET, 8, "waypost"), generation(8, "nft")}, nil},
		{"our own change", []nfnetlink.Message{event(unix.NFT_MSG_NEWSETELEM, unix.NFPROTO_IPV4, 7, "waypost"), generation(7, "waypost-proxy")}, nil},
		{"a generation alone", []nfnetlink.Message{generation(8, "nft")}, nil},
	} {
		if got := heard(c.messages...); !slices.Equal(got, c.want) {
			t.Errorf("%s: said %q, want %q", c.name, got, c.want)
		}
	}
}
