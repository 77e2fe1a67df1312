package records

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTrieIsAMap plays random changes to a trie and to a map, and compares them and each earlier snapshot.
func TestTrieIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var live trie[*ident]
	model := map[string]*ident{}
	type snapshot struct {
		trie  trie[*ident]
		model map[string]*ident
	}
	var snapshots []snapshot
	for generation := range uint64(200) {
		for range random.IntN(20) {
			key := fmt.Sprint(random.IntN(300))
			if random.IntN(3) == 0 {
				live.delete(generation+1, key)
				delete(model, key)
			} else {
				id := makeIdent(key, "")
				live.set(generation+1, id)
				model[key] = id
			}
		}
		copied := map[string]*ident{}
		for key, id := range model {
			copied[key] = id
		}
		snapshots = append(snapshots, snapshot{live, copied})
	}
	for i, s := range snapshots {
		if err := s.trie.check(); err != nil {
			t.Fatalf("snapshot %d: %v", i, err)
		}
		if s.trie.len != len(s.model) {
			t.Fatalf("snapshot %d: %d entries, want %d", i, s.trie.len, len(s.model))
		}
		for key := range 300 {
			if got, want := s.trie.get(fmt.Append(nil, key)), s.model[fmt.Sprint(key)]; got != want {
				t.Fatalf("snapshot %d: %d is %p, want %p", i, key, got, want)
			}
		}
	}
}

// TestTrieOfOneHash starts where no bit of the hash is left to tell keys apart.
func TestTrieOfOneHash(t *testing.T) {
	var tr trie[*ident]
	var n *trieNode[*ident]
	ids := []*ident{makeIdent("a", ""), makeIdent("b", ""), makeIdent("c", ""), makeIdent("b", "")}
	for _, id := range ids {
		n = tr.insert(n, 1, 0, trieDepth, id)
	}
	if tr.len != 3 || n.among([]byte("b")) != ids[3] || n.among([]byte("c")) != ids[2] || n.among([]byte("d")) != nil {
		t.Errorf("%d entries, b is %v, c is %v", tr.len, n.among([]byte("b")), n.among([]byte("c")))
	}
	for _, key := range []string{"b", "a", "c"} {
		if n == nil || n.among([]byte(key)) == nil {
			t.Fatalf("%s is gone too early", key)
		}
		n = remove(n, 1, 0, key)
	}
	if n != nil {
		t.Errorf("%d entries are left", len(n.same))
	}
}
