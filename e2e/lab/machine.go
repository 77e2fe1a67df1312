package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Machine is a computer in the lab's world: it has a network, processes, mounts and a name of its own, and its eth0 is
// plugged into the world's bridge. Power it off, and everything that ran in it is gone at once.
type Machine struct {
	Name string
	*Process
	programs []*Process
}

// Interior says what a Machine is like inside.
type Interior struct {
	Name    string
	Address string            // of eth0, as "10.1.0.11/24"
	Gateway string            // where everything goes that Routes does not name
	Routes  map[string]string // gateway by range
	Sysctls map[string]string // values by path below /proc/sys
}

// isMachine is the environment variable that makes a program the first process of a Machine.
const isMachine = "WAYPOST_LAB_MACHINE"

// StartMachine starts one that is plugged into a bridge of the world.
func StartMachine(in Interior, bridge string) (*Machine, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), isMachine+"="+in.Name)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start machine %s: %w", in.Name, err)
	}
	trouble, report, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start machine %s: %w", in.Name, err)
	}
	defer trouble.Close()
	cmd.ExtraFiles = []*os.File{report}
	m := &Machine{Name: in.Name}
	m.Process, err = startProcess(in.Name, cmd)
	report.Close()
	if err == nil {
		err = m.boot(in, bridge, orders, trouble)
	}
	if err != nil {
		if m.Process != nil {
			m.Kill()
		}
		return nil, fmt.Errorf("start machine %s: %w", in.Name, err)
	}
	return m, nil
}

// boot connects the machine, tells it what it is like, and waits until it is.
func (m *Machine) boot(in Interior, bridge string, orders io.WriteCloser, trouble io.Reader) error {
	if err := plug(m.Name, m.PID(), bridge); err != nil {
		return err
	}
	if err := errors.Join(json.NewEncoder(orders).Encode(in), orders.Close()); err != nil {
		return fmt.Errorf("tell it what it is like: %w", err)
	}
	text, err := io.ReadAll(trouble)
	if err == nil && string(text) != booted {
		err = errors.New(string(text))
	}
	return err
}

// booted is what a machine reports that is as it ought to be.
const booted = "booted"

// plug connects the eth0 of a process's network namespace to a bridge of this one.
func plug(name string, pid int, bridge string) error {
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "to-" + name}, PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add link %s: %w", pair.Name, err)
	}
	if err := netlink.LinkSetMaster(pair, master); err != nil {
		return fmt.Errorf("plug %s into %s: %w", pair.Name, bridge, err)
	}
	return netlink.LinkSetUp(pair)
}

// Start runs a program in the machine, in the folder /.
func (m *Machine) Start(name, program string, args ...string) (*Process, error) {
	p, err := StartProcess(m.Name+"-"+name, nil, "nsenter", m.enter(program, args)...)
	if err == nil {
		m.programs = append(m.programs, p)
	}
	return p, err
}

// Run runs a program in the machine to its end and returns what it printed.
func (m *Machine) Run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "nsenter", m.enter(program, args)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s on %s: %w: %s", program, m.Name, err, out)
	}
	return string(out), nil
}

func (m *Machine) enter(program string, args []string) []string {
	enter := []string{"--target", strconv.Itoa(m.PID()), "--mount", "--net", "--pid", "--uts", "--ipc", "--", program}
	return append(enter, args...)
}

// Root is the machine's root folder as it is seen from the world.
func (m *Machine) Root() string { return fmt.Sprintf("/proc/%d/root", m.PID()) }

// PowerOff ends everything in the machine at once, without a word to anybody. A nil Machine is off.
func (m *Machine) PowerOff() {
	if m == nil || m.Process == nil {
		return
	}
	for _, p := range m.programs {
		p.Kill() // the machine is not off before each of them is waited for, by an nsenter outside that may be stopped
	}
	m.Kill()
}

// beMachine is the first process of a Machine: it furnishes the inside, and from then on takes leave of the processes
// that nobody else waits for.
func beMachine() int {
	report := os.NewFile(3, "report")
	var in Interior
	err := json.NewDecoder(os.Stdin).Decode(&in)
	if err == nil {
		err = in.furnish()
	}
	if err != nil {
		fmt.Fprint(report, err)
		return 1
	}
	fmt.Fprint(report, booted)
	report.Close()
	bury()
	return 0
}

// bury waits for every child that ends, for ever. The kernel gives a machine's orphans to its first process.
func bury() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}

// furnish gives the machine a name, a /proc, folders that begin empty, and its network.
func (in *Interior) furnish() error {
	if err := syscall.Sethostname([]byte(in.Name)); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	for _, propagation := range []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED} { // from the world, and among containers
		if err := syscall.Mount("", "/", "", syscall.MS_REC|propagation, ""); err != nil {
			return fmt.Errorf("set the propagation of mounts: %w", err)
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, folder := range []string{"/run", "/var/lib", "/var/log"} {
		if err := syscall.Mount("machine", folder, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", folder, err)
		}
	}
	for path, value := range in.Sysctls {
		if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
			return fmt.Errorf("set a sysctl: %w", err)
		}
	}
	return in.connect()
}

// connect brings the machine's links up and makes its routes.
func (in *Interior) connect() error {
	for _, name := range []string{"lo", "eth0"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if name == "eth0" {
			if err := assign(link, in.Address); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	if err := addRoute("0.0.0.0/0", in.Gateway); err != nil {
		return err
	}
	for to, via := range in.Routes {
		if err := addRoute(to, via); err != nil {
			return err
		}
	}
	return nil
}

func assign(link netlink.Link, text string) error {
	address, err := netlink.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("parse address %q: %w", text, err)
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, text, err)
	}
	return nil
}

func addRoute(to, via string) error {
	_, network, err := net.ParseCIDR(to)
	if err != nil {
		return fmt.Errorf("parse the range of a route: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: network, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("add a route to %s via %s: %w", to, via, err)
	}
	return nil
}
