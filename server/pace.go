package server

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pace tells a socket loop when to rest. Where datagrams come about as fast as they are answered, each system call moves one
// or two of them, and calls are dear: from 0.2 us to more than 1 us, as much as it takes to answer. After a short rest a call
// moves ten, and as it takes longer to answer ten, so do those that follow.
//
// A loop that finds its socket empty is not in a hurry and rests by itself; one that gets many at once has no need to.
type pace struct {
	few int // calls in a row that found some datagrams, but few
}

const (
	fewDatagrams = batchLen / 4
	fewInARow    = 3
)

// rest reports whether to rest before more datagrams are received, when the last call has received n. waited says that there
// were none at first.
func (p *pace) rest(n int, waited bool) bool {
	if waited || n >= fewDatagrams {
		p.few = 0
		return false
	}
	p.few = (p.few + 1) % fewInARow
	return p.few == 0
}

// doze rests for as short as the kernel can, some 0.06 ms of which its timer slack is 0.05. It does not give the processor to
// other goroutines, for the reason that receiveNow has.
func doze() {
	shortest := unix.Timespec{Nsec: 1}
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&shortest)), 0, 0)
}
