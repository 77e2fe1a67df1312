package upstream

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of each question. None of them ever blocks, so that Go's scheduler is not told of them: it would give
// the processor to another thread meanwhile, and the two would then take it from each other in turn.

// sendNow sends a datagram on a connected socket.
func sendNow(fd int, packet []byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// receiveNow receives a datagram and returns its length.
func receiveNow(fd int, buffer []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// errorNow takes the first error off a socket's error queue (IP_RECVERR, see ip(7)), and returns that, or EAGAIN if there
// is none.
func errorNow(fd int) error {
	var control [512]byte
	_, n, _, _, err := unix.Recvmsg(fd, nil, control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	for rest := control[:n]; len(rest) > 0; {
		header, data, remainder, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		if recvErr := header.Type == unix.IP_RECVERR || header.Type == unix.IPV6_RECVERR; recvErr && len(data) >= 4 {
			return syscall.Errno(binary.NativeEndian.Uint32(data)) // ee_errno of struct sock_extended_err
		}
		rest = remainder
	}
	return unix.EPROTO
}

// pollNow returns how many events there are.
func pollNow(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
