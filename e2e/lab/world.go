// Package lab is a real Kubernetes control plane with DNS servers beside it, in a world of its own: network, process
// and mount namespaces that the kernel takes away, with all that runs in them, when the program ends, however it ends.
package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/waypost/waypost/e2e/peers"
)

// inside is the environment variable that tells a program it runs in its own world already.
const inside = "WAYPOST_LAB_FOLDER"

// NodeAddress is the address of the world's outside interface, where the API server says it is.
const NodeAddress = "10.0.0.1"

// Run starts the program a second time, in a world of its own, and returns that run's exit code; there, it calls main.
// The programs named are made ready before, as the world has no way out to fetch them.
func Run(main func() int, programs ...string) int {
	if os.Getenv(isMachine) != "" {
		return beMachine()
	}
	switch folder := os.Getenv(inside); {
	case folder == "":
	case os.Getpid() == 1:
		return beWorld(folder)
	default:
		return main()
	}
	p, err := peers.Find()
	if err == nil {
		err = p.Ensure(programs...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	code, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return code
}

// enter runs this very program with the same arguments in new namespaces and waits for it.
func enter() (code int, err error) {
	sweep()
	folder, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", folderPrefix, os.Getpid()))
	if err != nil {
		return 0, fmt.Errorf("make a folder for the lab: %w", err)
	}
	defer removeTraces(folder)
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find the running program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig follows the thread that started the program
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start in namespaces of its own (as root, or where users may make namespaces): %w", err)
	}
	stop := forward(cmd.Process)
	defer stop()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// forward hands the signals that ask for an end on to the program inside.
func forward(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			p.Signal(s)
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}

// beWorld is the first process of the world: it furnishes it, runs the program there, and takes leave of the processes
// that nobody else waits for until that one has ended. It returns its exit code.
func beWorld(folder string) int {
	if err := furnish(folder); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	p, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	defer forward(p)()
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "lab: wait for the program:", err)
			return 1
		case pid == p.Pid && status.Signaled():
			return 128 + int(status.Signal())
		case pid == p.Pid:
			return status.ExitStatus()
		}
	}
}

// furnish makes the new namespaces fit to live in: a /proc that shows their processes, a folder in memory, and a network
// with the default route without which an API server finds no address of its own.
func furnish(folder string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("lab", folder, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", folder, err)
	}
	return network()
}

// network brings up the loopback and a veth pair whose one end has the node's address and a link-local IPv6 one.
func network() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add a veth pair: %w", err)
	}
	peer, err := netlink.LinkByName("peer0")
	if err != nil {
		return fmt.Errorf("find the veth's other end: %w", err)
	}
	for _, link := range []netlink.Link{lo, veth, peer} {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
		}
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(NodeAddress).To4(), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(veth, address); err != nil {
		return fmt.Errorf("give eth0 the address %s: %w", NodeAddress, err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Attrs().Index, Gw: net.IPv4(10, 0, 0, 2)}); err != nil {
		return fmt.Errorf("add a default route: %w", err)
	}
	return nil
}

// Folder is where a program inside its world keeps its files; it is gone when the program ends.
func Folder() string { return os.Getenv(inside) }
