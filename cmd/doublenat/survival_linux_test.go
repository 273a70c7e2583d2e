package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"doublenat/natpmp"
)

// stopTime is how long a stop may take here, whatever happens around it: the ten seconds of
// a daemon, which tests in virtual time hold it to, and what a busy machine adds.
const stopTime = 30 * time.Second

// running is a daemon that runs as a process of its own, outside of the test's session:
// without a terminal.
type running struct {
	*exec.Cmd

	ended chan error
}

// start runs the daemon with a log.
func (o *outside) start(t *testing.T, stderr *os.File, attr *syscall.SysProcAttr) *running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &running{ended: make(chan error, 1), Cmd: &exec.Cmd{
		Path: self, Args: []string{"doublenat"}, Env: o.environ, Stderr: stderr, SysProcAttr: attr,
	}}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.ended <- b.Wait() }()
	t.Cleanup(func() { _ = b.Process.Kill() }) // one that ended is none
	return b
}

// send sends signals.
func (b *running) send(t *testing.T, signals ...syscall.Signal) {
	t.Helper()
	for _, s := range signals {
		if err := b.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%v: %v", s, err)
		}
	}
}

// stop waits for the end, which has to come in time, with exit code 0.
func (b *running) stop(t *testing.T) {
	t.Helper()
	select {
	case err := <-b.ended:
		if err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	case <-time.After(stopTime):
		t.Fatalf("the daemon did not end within %v", stopTime)
	}
}

// mapped asks for a mapping until it is granted: the service goes on.
func (o *outside) mapped(t *testing.T, port uint16) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.listen, 5351)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: 3600}.Append(nil)
	reply := make([]byte, 16)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		_, _ = conn.Write(req) // refused where the daemon is gone, which the end of the time says
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(reply); err == nil && n == 16 && reply[2] == 0 && reply[3] == 0 {
			return
		}
	}
	t.Fatalf("port %d: the daemon does not answer any more", port)
}

// nothingLeft holds that router and gateway are as they were before.
func (o *outside) nothingLeft(t *testing.T) {
	t.Helper()
	if left := o.rules(); len(left) != 0 || len(o.gateway.Mappings()) != 0 {
		t.Errorf("left behind: rules %v, leases %v", left, o.gateway.Mappings())
	}
}

// pipe returns a small pipe.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	const setSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), setSize, 4096); errno != 0 {
		t.Fatal(errno)
	}
	return r, w
}

// TestServiceOutlivesItsLog: whatever happens to the log, clients are answered, a
// stop takes no longer than it may, and leaves nothing behind. SIGHUP, and a second
// SIGTERM, change nothing about that.
func TestServiceOutlivesItsLog(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct {
		name string
		log  func(t *testing.T) (stderr *os.File, harm func(o *outside))
	}{
		{"serve 2>&1 | head -2", func(t *testing.T) (*os.File, func(*outside)) {
			t.Helper()
			r, w := pipe(t)
			return w, func(*outside) {
				lines := bufio.NewReader(r)
				for range 2 {
					if _, err := lines.ReadString('\n'); err != nil {
						t.Error(err)
					}
				}
				_, _ = r.Close(), w.Close()
			}
		}},
		{"a pipe that nobody reads", func(t *testing.T) (*os.File, func(*outside)) {
			t.Helper()
			r, w := pipe(t)
			return w, func(o *outside) {
				for port := range uint16(40) {
					o.mapped(t, 1000+port) // more lines than the pipe takes
				}
				_ = w.Close()
				_ = r // stays open
			}
		}},
		{"a full disk", func(t *testing.T) (*os.File, func(*outside)) {
			t.Helper()
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { full.Close() })
			return full, func(*outside) {}
		}},
		{"no log at all", func(*testing.T) (*os.File, func(*outside)) {
			return nil, func(*outside) {}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOutsideAt(t, byte(90+3*i))
			o.environ = append(o.environ, "LOG_LEVEL=DEBUG", "CLIENT_RATE=0")
			stderr, harm := tt.log(t)
			b := o.start(t, stderr, &syscall.SysProcAttr{Setsid: true})
			o.await(t)
			harm(o)
			o.mapped(t, 80)
			b.send(t, syscall.SIGHUP)
			o.mapped(t, 81)
			b.send(t, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGTERM)
			time.Sleep(100 * time.Millisecond)    // in which the first is at work
			_ = b.Process.Signal(syscall.SIGTERM) // it may have ended by now
			b.stop(t)
			o.nothingLeft(t)
		})
	}
}

// TestHangup: without a terminal SIGHUP is a wish to look again, with one it says
// that the terminal is gone, and under nohup nothing.
func TestHangup(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("the tests were started with SIGHUP ignored, as by nohup, and so is every program that they start")
	}
	t.Run("daemon", func(t *testing.T) {
		t.Parallel()
		o := newOutsideAt(t, 110)
		r, w := pipe(t)
		b := o.start(t, w, &syscall.SysProcAttr{Setsid: true})
		_ = w.Close()
		o.await(t)
		o.mapped(t, 80)
		before := o.router.Mark()
		b.send(t, syscall.SIGHUP)
		for lines := bufio.NewScanner(r); lines.Scan() && !strings.Contains(lines.Text(), "SIGHUP: comparing the rules"); {
		}
		go func() { _, _ = io.Copy(io.Discard, r) }() // it ends with the daemon
		looked := false
		for end := time.Now().Add(10 * time.Second); !looked && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for _, e := range o.router.Since(before) {
				looked = looked || e.Command == "/ip/firewall/nat/print"
			}
		}
		if !looked {
			t.Error("the router was not looked at")
		}
		b.send(t, syscall.SIGTERM)
		b.stop(t)
		o.nothingLeft(t)
	})
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		o := newOutsideAt(t, 113)
		master, slave := terminal(t)
		b := o.start(t, slave, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2})
		_ = slave.Close()
		go func() { _, _ = io.Copy(io.Discard, master) }() // it ends with the terminal
		o.await(t)
		o.mapped(t, 80)
		_ = master.Close() // the window is closed
		b.stop(t)
		o.nothingLeft(t)
	})
	t.Run("nohup", func(t *testing.T) {
		t.Parallel()
		nohup, err := exec.LookPath("nohup")
		if err != nil {
			t.Skip(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		o := newOutsideAt(t, 116)
		o.environ = append(o.environ, "PATH="+linked(t, self))
		master, slave := terminal(t)
		b := &running{ended: make(chan error, 1), Cmd: &exec.Cmd{
			Path: nohup, Args: []string{"nohup", "doublenat"}, Env: o.environ,
			Stderr: slave, SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2},
		}}
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { b.ended <- b.Wait() }()
		t.Cleanup(func() { _ = b.Process.Kill() })
		_ = slave.Close()
		o.await(t)
		_ = master.Close()
		o.mapped(t, 80)
		b.send(t, syscall.SIGHUP)
		o.mapped(t, 81)
		b.send(t, syscall.SIGTERM)
		b.stop(t)
		o.nothingLeft(t)
	})
}

// linked returns a directory in which the test binary has the command's name.
func linked(t *testing.T, self string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(self, dir+"/doublenat"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	var number, unlock int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		// Not by Fd, after which Close would wait for a read under way.
		conn, err := master.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var errno syscall.Errno
		err = conn.Control(func(fd uintptr) {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(value)))
		})
		if err != nil || errno != 0 {
			t.Fatal(err, errno)
		}
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	return master, slave
}

// TestClientsNameTheCause: where nothing can be sent, as in a network namespace without
// a way out, the client commands say so and do not wait.
func TestClientsNameTheCause(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"map", "tcp", "80"}, {"unmap", "tcp", "80"}, {"address"}} {
		var out output
		cmd := &exec.Cmd{
			Path: self, Args: append(append([]string{"doublenat"}, args...), "-g", "192.168.88.1", "--timeout", "10m"), Stdout: &out, Stderr: &out,
		}
		if took := runApart(t, cmd); cmd.ProcessState.ExitCode() != exitFailure || took > time.Minute ||
			!strings.Contains(out.String(), "nothing can be sent to 192.168.88.1:5351: network is unreachable; look at") || strings.Contains(out.String(), "waiting") {
			t.Errorf("%v: %v after %v: %s", args, cmd.ProcessState, took, out.String())
		}
	}
}

// runApart runs a command in a network namespace of its own, and returns how long it took.
// Its code is in its state.
func runApart(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		missing(t, fmt.Sprintf("the right to make a network namespace (%v)", err))
	}
	began := time.Now()
	_ = cmd.Wait() // its code is looked at by who wants it
	return time.Since(began)
}

// TestClientsNameTheCauseInBetween: when nobody has the gateway's address, or the way to
// it goes while an answer is waited for, the client commands end as soon as the kernel
// knows, and not at the end of their time.
func TestClientsNameTheCauseInBetween(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "the program ip")
	}
	const link = "set -e; ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip addr add 192.168.88.2/24 dev v0; "
	for name, tt := range map[string]struct{ script, cause string }{
		"nobody has the address": {link, "no route to host"},
		"the route goes":         {link + "(sleep 1; ip addr del 192.168.88.2/24 dev v0) & ", "network is unreachable"},
		"the route is refused":   {link + "(sleep 1; ip route add unreachable 192.168.88.1) & ", "no route to host"},
	} {
		for _, args := range []string{"map tcp 80", "address"} { // unmap ends before anybody knows
			t.Run(name+", "+args, func(t *testing.T) {
				t.Parallel()
				var out output
				cmd := exec.CommandContext(t.Context(), "sh", "-c", tt.script+"exec doublenat "+args+" -g 192.168.88.1 --timeout 10m")
				cmd.Stdout, cmd.Stderr = &out, &out
				if took := runApart(t, cmd); cmd.ProcessState.ExitCode() != exitFailure || took > time.Minute ||
					!strings.Contains(out.String(), "nothing can be sent to 192.168.88.1:5351: "+tt.cause+"; look at") {
					t.Errorf("%v after %v: %s", cmd.ProcessState, took, out.String())
				}
			})
		}
	}
}
