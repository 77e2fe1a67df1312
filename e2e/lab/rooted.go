package lab

import (
	"os/exec"
	"syscall"
)

// StartRooted runs a program that sees the folder root as the root of its file system and has env for its whole
// environment. The program's path begins at that root.
func StartRooted(root, name string, env []string, program string, args ...string) (*Process, error) {
	cmd := &exec.Cmd{Path: program, Args: append([]string{program}, args...), Dir: "/", Env: env}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	return startProcess(name, cmd)
}
