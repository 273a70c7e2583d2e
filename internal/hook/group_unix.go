//go:build unix

package hook

import (
	"os/exec"
	"syscall"
)

// killGroup puts the program into a process group of its own, which is killed as a
// whole when its time is over: a shell script's children would outlive it.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
