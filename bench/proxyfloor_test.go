package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"github.com/waypost/waypost/e2e/lab"
	"github.com/waypost/waypost/e2e/route"
	"github.com/waypost/waypost/proxy/nfnetlink"
)

// floors are what no proxy can do without.
type floors struct {
	list   time.Duration // until the API server has sent all Services and slices to somebody who looks at none of it
	kernel time.Duration // until the kernel has taken the same elements, encoded before
}

// measureFloors is the best of three runs.
func (s size) measureFloors(ctx context.Context, api *lab.APIServer) (floors, error) {
	f := floors{list: time.Hour, kernel: time.Hour}
	for range 3 {
		list, err := listAll(ctx, api.Config)
		if err != nil {
			return f, err
		}
		kernel, err := s.fillKernel()
		if err != nil {
			return f, err
		}
		f.list, f.kernel = min(f.list, list), min(f.kernel, kernel)
	}
	return f, nil
}

// listAll reads both lists at once, in protobuf, and throws them away.
func listAll(ctx context.Context, config *rest.Config) (time.Duration, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, fmt.Errorf("make a client of %s: %w", config.Host, err)
	}
	defer client.CloseIdleConnections()
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, path := range []string{"/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"} {
		group.Go(func() error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path+"?resourceVersion=0", nil)
			if err != nil {
				return err
			}
			request.Header.Set("Accept", "application/vnd.kubernetes.protobuf")
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return err
		})
	}
	err = group.Wait()
	return time.Since(start), err
}

// fillKernel loads maps and sets like those of waypost's table into an empty network namespace.
func (s size) fillKernel() (time.Duration, error) {
	space, err := route.NewSpace("floor")
	if err != nil {
		return 0, err
	}
	defer space.Close()
	var conn *nfnetlink.Conn
	err = space.Do(func() (err error) {
		conn, err = nfnetlink.Dial(nfnetlink.Options{SendBuffer: 64 << 20, ReceiveBuffer: 1 << 20})
		return err
	})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	batches := s.batches()
	start := time.Now()
	for _, b := range batches {
		if err := conn.Execute(b); err != nil {
			return 0, fmt.Errorf("load bare elements: %w", err)
		}
	}
	return time.Since(start), nil
}

// The sets: which of a Service's frontends there are, how many endpoints each has, where each slot leads, and the addresses.
var floorSets = []struct {
	name             string
	keyLen, valueLen uint32
}{{"frontends", 12, 0}, {"classes", 12, 0}, {"addresses", 4, 0}, {"endpoints", 16, 8}}

// batches are transactions of 1 MiB that make the sets and fill them.
func (s size) batches() []*nfnetlink.Buffer {
	w := &floorWriter{}
	w.open()
	w.declare()
	for i := range s.services {
		ports := []uint16{80, 90}[:1]
		if s.second(i) {
			ports = ports[:2]
		}
		address := clusterIP(i).As4()
		w.add(2, address[:], nil)
		for _, port := range ports {
			key := binary.BigEndian.AppendUint16(append(address[:], unix.IPPROTO_TCP, 0, 0, 0), port)
			key = append(key, 0, 0)
			w.add(0, key, nil)
			w.add(1, key, nil)
			for j := range s.each {
				pod := netip.AddrPortFrom(s.pod(i, j), podPort)
				value := binary.BigEndian.AppendUint16(pod.Addr().AsSlice(), pod.Port())
				w.add(3, binary.NativeEndian.AppendUint32(key[:12:12], uint32(j)), append(value, 0, 0))
			}
		}
	}
	w.close()
	return w.done
}

// floorWriter writes elements, each set's in messages of its own, into one transaction after the other.
type floorWriter struct {
	done   []*nfnetlink.Buffer
	buffer *nfnetlink.Buffer
	wait   [4][]byte
}

const floorTable = "floor"

func (w *floorWriter) open() {
	w.buffer = new(nfnetlink.Buffer)
	w.buffer.BeginBatch(unix.NFNL_SUBSYS_NFTABLES)
}

func (w *floorWriter) close() {
	for set := range w.wait {
		w.flush(set)
	}
	w.buffer.Flag(nfnetlink.Acknowledge)
	w.buffer.EndBatch(unix.NFNL_SUBSYS_NFTABLES)
	w.done = append(w.done, w.buffer)
	w.open()
}

func (w *floorWriter) begin(kind uint16) {
	w.buffer.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|kind, nfnetlink.Create, unix.NFPROTO_IPV4)
}

func (w *floorWriter) declare() {
	w.begin(unix.NFT_MSG_NEWTABLE)
	w.buffer.Text(unix.NFTA_TABLE_NAME, floorTable)
	w.buffer.End()
	for i, s := range floorSets {
		w.begin(unix.NFT_MSG_NEWSET)
		w.buffer.Text(unix.NFTA_SET_TABLE, floorTable)
		w.buffer.Text(unix.NFTA_SET_NAME, s.name)
		w.buffer.Uint32(unix.NFTA_SET_KEY_TYPE, 1)
		w.buffer.Uint32(unix.NFTA_SET_KEY_LEN, s.keyLen)
		if s.valueLen > 0 {
			w.buffer.Uint32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP)
			w.buffer.Uint32(unix.NFTA_SET_DATA_TYPE, 1)
			w.buffer.Uint32(unix.NFTA_SET_DATA_LEN, s.valueLen)
		}
		w.buffer.Uint32(unix.NFTA_SET_ID, uint32(i)+1)
		w.buffer.End()
	}
}

func (w *floorWriter) add(set int, key, value []byte) {
	element := floorValue(unix.NFTA_SET_ELEM_KEY, key)
	if value != nil {
		element = append(element, floorValue(unix.NFTA_SET_ELEM_DATA, value)...)
	}
	w.wait[set] = nfnetlink.AppendAttribute(w.wait[set], unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, element)
	if len(w.wait[set]) > 60_000 {
		w.flush(set)
	}
	if w.buffer.Size() > 1<<20 {
		w.close()
	}
}

func floorValue(kind uint16, value []byte) []byte {
	return nfnetlink.AppendAttribute(nil, kind|unix.NLA_F_NESTED, nfnetlink.AppendAttribute(nil, unix.NFTA_DATA_VALUE, value))
}

func (w *floorWriter) flush(set int) {
	if len(w.wait[set]) == 0 {
		return
	}
	w.begin(unix.NFT_MSG_NEWSETELEM)
	w.buffer.Text(unix.NFTA_SET_ELEM_LIST_TABLE, floorTable)
	w.buffer.Text(unix.NFTA_SET_ELEM_LIST_SET, floorSets[set].name)
	mark := w.buffer.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	w.buffer.Raw(w.wait[set])
	w.buffer.Close(mark)
	w.buffer.End()
	w.wait[set] = w.wait[set][:0]
}
