package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// store is where the records are: etcd, or in tests a map.
type store interface {
	start(ctx context.Context) error
	stop()
	// get returns the value of a key, or those of all keys that begin with it, in their order.
	get(ctx context.Context, key string, prefix bool) ([]entry, error)
	// remaining is how many seconds of a lease are left, 0 where it has ended.
	remaining(ctx context.Context, lease int64) (int64, error)
}

// entry is a key and its value in the store.
type entry struct {
	key   string
	value []byte
	lease int64 // 0 is none
}

// lookup is the reading of the store for one query.
type lookup struct {
	ctx     context.Context // of the query
	store   store
	options *Options
	names   int             // how many it has read
	leases  map[int64]int64 // seconds left of those that it has asked for
	err     error           // once the store has failed, it is not asked again
}

const (
	// patience is how long etcd may take for all that one query needs of it; in CoreDNS it is for each part of that.
	patience = 5 * time.Second
	// maxNames is how many names are read for one query: aliases may fan out at each of their ends.
	maxNames = 1000
)

// errTooMany is returned for the names beyond maxNames, and makes the whole answer SERVFAIL.
var errTooMany = errors.New("too many names lead to each other")

// services are the records of a name that count for a type. Unless exact is set they are those below the name where there
// are any. exists is false where nothing stands there at all.
func (l *lookup) services(name string, typ uint16, exact bool) (list []Service, exists bool, err error) {
	if l.names++; l.names > maxNames {
		l.err = errTooMany
	}
	own := key(name, l.options.Path)
	above, wild := pattern(name, l.options.Path)
	at := own
	if wild {
		at = above
	}
	entries, err := l.entries(at, exact)
	if err != nil || len(entries) == 0 {
		return nil, false, err
	}
	for _, e := range entries {
		if wild && !matches(e.key, own) {
			continue
		}
		s := Service{key: e.key}
		if err := json.Unmarshal(e.value, &s); err != nil {
			return nil, true, fmt.Errorf("%s: %w", e.key, err)
		}
		if s.Host == "" && (typ != dns.TypeTXT || s.Text == "") {
			continue
		}
		if s.Priority == 0 {
			s.Priority = defaultPriority
		}
		s.TTL = l.ttl(s.TTL, e.lease)
		list = append(list, s)
	}
	return group(list), true, nil
}

// entries are what stands below a key or, where that is nothing or exact is set, at the key.
func (l *lookup) entries(key string, exact bool) ([]entry, error) {
	if !exact {
		entries, err := l.get(strings.TrimSuffix(key, "/")+"/", true)
		if err != nil || len(entries) > 0 {
			return entries, err
		}
	}
	return l.get(key, false)
}

func (l *lookup) get(key string, prefix bool) ([]entry, error) {
	if l.err != nil {
		return nil, l.err
	}
	entries, err := l.store.get(l.ctx, key, prefix)
	l.err = err
	return entries, err
}

// ttl is the lowest of a record's own TTL and what is left of its lease.
func (l *lookup) ttl(own uint32, lease int64) uint32 {
	left := l.remaining(lease)
	switch {
	case left == 0 && own == 0:
		return defaultTTL
	case left == 0:
		return own
	case own == 0:
		return left
	}
	return min(own, left)
}

// remaining is what is left of a lease, within the bounds of the options; 0 where there is none, or nothing is known of it.
func (l *lookup) remaining(lease int64) uint32 {
	if lease == 0 {
		return 0
	}
	left, known := l.leases[lease]
	if !known && l.err == nil {
		var err error
		if left, err = l.store.remaining(l.ctx, lease); err != nil {
			left = 0
		}
		if l.leases == nil {
			l.leases = make(map[int64]int64)
		}
		l.leases[lease] = left
	}
	if left <= 0 {
		return 0
	}
	least, most := l.options.leases()
	if left < int64(least) {
		return least
	}
	return uint32(min(left, int64(most)))
}

// leases are the bounds of what is left of leases.
func (o *Options) leases() (least, most uint32) {
	if least = o.MinLease; least == 0 {
		least = defaultMinLease
	}
	if most = o.MaxLease; most == 0 {
		most = defaultMaxLease
	}
	return least, most
}
