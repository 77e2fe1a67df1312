package server

import (
	"time"
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
	few   int  // calls in a row that found some datagrams, but few
	last  rest // before the last call
	yield bool // the next rest is for others
	pays  int  // rests that may still bring few before they are thought to bring few for good
}

// rest is what a loop does before it receives more.
type rest uint8

const (
	none  rest = iota
	doze       // keeps the processor that Go has given to it
	yield      // lets other goroutines have it, and Go's scheduler hear of what they wait for
)

const (
	fewDatagrams = batchLen / 4
	fewInARow    = 3
	manyInRest   = 12 // some 100,000 a second
	vainRests    = 2
)

// after tells how to rest when the last call has received n datagrams. waited says that there were none at first.
func (p *pace) after(n int, waited bool) rest {
	if p.last != none {
		if n >= manyInRest && !waited {
			p.pays = vainRests
		} else if p.pays > 0 {
			p.pays--
		}
	}
	rests := false
	switch {
	case p.pays > 0:
		p.few, rests = 0, n < batchLen
	case waited || n >= fewDatagrams:
		p.few = 0
	default:
		p.few = (p.few + 1) % fewInARow
		rests = p.few == 0
	}
	switch {
	case !rests:
		p.last = none
	case p.yield:
		p.last, p.yield = yield, false
	default:
		p.last, p.yield = doze, true
	}
	return p.last
}

// To doze, the loop asks the kernel, for the reason that receiveNow has. It never has to wait for datagrams then, and if it did
// only that, whoever answers over TCP or hears from other servers would have to wait for Go to take the processor away, which
// it does after 10 ms. To yield takes more processor time, the more datagrams come meanwhile: with each, the scheduler looks
// what there is to do. So rests are of one kind and the other in turn.
//
// The kernel adds its timer slack of 0.05 ms to the first, and the scheduler the time to the next datagram to the second.
const (
	dozeTime  = 60 * time.Microsecond
	yieldTime = 30 * time.Microsecond
)

// take takes a rest.
func (r rest) take() {
	switch r {
	case doze:
		t := unix.Timespec{Nsec: int64(dozeTime)}
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
	case yield:
		time.Sleep(yieldTime)
	}
}
