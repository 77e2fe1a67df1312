package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is how long a program may take to end by itself after SIGTERM.
const grace = 10 * time.Second

// Process is a program that was started, its output going to a file.
type Process struct {
	Name    string
	LogFile string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the program has ended
}

// StartProcess runs a program in the lab's folder, with env added to the environment.
func StartProcess(name string, env []string, program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	return startProcess(name, cmd)
}

// startProcess runs a command that is ready but for its folder, its output and its process group.
func startProcess(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, LogFile: filepath.Join(Folder(), name+".log"), cmd: cmd, done: make(chan struct{})}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.cmd.Dir == "" {
		p.cmd.Dir = Folder()
	}
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid = true
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the program's process number inside the lab.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, then ends its process group, and returns once it is gone. A nil Process is stopped.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	syscall.Kill(-p.PID(), syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill ends the program's process group at once.
func (p *Process) Kill() {
	syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
}

// Log is what the program has written so far.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// LogEnd is the last lines of the log, for messages.
func (p *Process) LogEnd(lines int) string {
	all := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CPU is the processor time that the program has used, in user and system mode together.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of %s: %w", p.Name, err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold spaces
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// Memory is the program's resident set and the highest it ever was, in bytes.
func (p *Process) Memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("read the memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "VmRSS:":
				now = n << 10
			case "VmHWM:":
				peak = n << 10
			}
		}
	}
	return now, peak, nil
}

// ResetPeak makes the kernel forget the highest resident set, so that Memory tells the peak from here on.
func (p *Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0o200)
}

// poll calls try every few milliseconds until it returns nil, ctx ends or the process does.
func (p *Process) poll(ctx context.Context, what string, try func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s: %s has ended:\n%s", what, p.Name, p.LogEnd(20))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last: %v; %s says:\n%s", what, ctx.Err(), err, p.Name, p.LogEnd(20))
		case <-ticker.C:
		}
	}
}
