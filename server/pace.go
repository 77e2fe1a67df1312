package server

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pace tells a socket loop when to rest. Where datagrams come about as fast as they are answered, each system call moves one
// or two of them, and calls are dear: from 0.2 us to more than 1 us, as much as it takes to answer. After a short rest a call
// moves twenty, and as it takes longer to answer twenty, so do those that follow.
//
// What a rest brings tells how much is going on. While rests bring many, the loop rests after each call, also instead of waiting for
// the next datagram, which is dearer still. Otherwise it tries a rest now and then, and only where it is busy: a loop that
// finds its socket empty rests by itself, and one that gets many at once has no need to.
type pace struct {
	few    int  // calls in a row that found some datagrams, but few
	rested bool // before the last call
	pays   int  // rests that may still bring few before they are thought to bring few for good
}

const (
	fewDatagrams = batchLen / 4
	fewInARow    = 3
	manyInRest   = 12 // some 100,000 a second
	vainRests    = 2
)

// rest reports whether to rest before more datagrams are received, when the last call has received n. waited says that there
// were none at first.
func (p *pace) rest(n int, waited bool) bool {
	if p.rested {
		if n >= manyInRest && !waited {
			p.pays = vainRests
		} else if p.pays > 0 {
			p.pays--
		}
	}
	switch {
	case p.pays > 0:
		p.few, p.rested = 0, n < batchLen
	case waited || n >= fewDatagrams:
		p.few, p.rested = 0, false
	default:
		p.few = (p.few + 1) % fewInARow
		p.rested = p.few == 0
	}
	return p.rested
}

// restTime is in nanoseconds. The kernel adds its timer slack, another 0.05 ms.
const restTime = 60_000

// doze rests. It does not give the processor to other goroutines, for the reason that receiveNow has.
func doze() {
	time := unix.Timespec{Nsec: restTime}
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&time)), 0, 0)
}
