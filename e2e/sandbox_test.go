//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// sandboxVariable is set in the sandbox, to the directory of the doublenat binary.
	sandboxVariable = "E2E_SANDBOX"
	// builtVariable is set for the runs that a test starts in the sandbox, which has the binaries.
	builtVariable = "E2E_BUILT"
	// doublenatPath is where the binary under test is in the sandbox.
	doublenatPath = "/run/doublenat"
	// tailscalePath is where e2e/tailscale is there.
	tailscalePath = "/run/tailscale"
	// routerVariable names a real router. The tests that need no sandbox run then,
	// on the host's network.
	routerVariable = "E2E_ROUTER"
	// debianPython is where python3-libtorrent can be imported, whatever other
	// python comes first in PATH.
	debianPython = "/usr/bin/python3"
)

// inSandbox says whether this process is the one that runs the flows.
func inSandbox() bool { return os.Getenv(sandboxVariable) != "" }

// requireSandbox skips a test that needs namespaces where there are none. In CI
// the run has failed before it could come here.
func requireSandbox(t *testing.T) {
	t.Helper()
	if !inSandbox() {
		t.Skip("needs root, namespaces and the programs of `make e2e-deps`")
	}
}

// missing says what this machine lacks for the flows, all at once.
func missing() error {
	var lacks []string
	probe := exec.Command("true")
	probe.SysProcAttr = ownNamespaces()
	if err := probe.Run(); err != nil {
		lacks = append(lacks, fmt.Sprintf("root, or the right to make namespaces (%v)", err))
	}
	if tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		lacks = append(lacks, fmt.Sprintf("a tunnel device (%v)", err))
	} else if err := tun.Close(); err != nil {
		return err
	}
	for _, p := range []struct{ program, source string }{
		{"ip", "iproute2"},
		{"nft", "nftables"},
		{"conntrack", "conntrack"},
		{"wireguard-go", "wireguard-go"},
		{"wg", "wireguard-tools"},
		{"miniupnpd", "miniupnpd-nftables"},
		{"natpmpc", "natpmpc"},
		{"keepalived", "keepalived"},
		{"curl", "curl"},
		{"upnpc", "miniupnpc"},
		{"gssdp-discover", "gupnp-tools"},
		{"tshark", "tshark"},
		{"transmission-daemon", "transmission-daemon"},
		{"node", "nodejs"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			lacks = append(lacks, p.program+" (Debian package "+p.source+")")
		}
	}
	for _, module := range []string{"libtorrent", "miniupnpc"} {
		if err := exec.Command(debianPython, "-c", "import "+module).Run(); err != nil {
			lacks = append(lacks, module+" for "+debianPython+" (Debian package python3-"+module+")")
		}
	}
	if _, err := os.Stat("node_modules/nat-pmp"); err != nil {
		lacks = append(lacks, "e2e/node_modules (npm ci in e2e/)")
	}
	if lacks == nil {
		return nil
	}
	return fmt.Errorf("this machine lacks %s; `make e2e-deps` installs what can be installed", strings.Join(lacks, ", "))
}

// runSandbox builds what it needs, runs this program in a sandbox, and returns its
// exit code. When ctx ends the sandbox is destroyed.
func runSandbox(ctx context.Context) (code int, err error) {
	// Not in TMPDIR, which may be below /run, where the sandbox could not see it.
	dir, err := os.MkdirTemp("/tmp", "doublenat-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := build(ctx, dir); err != nil {
		return 1, err
	}

	// The child is killed when the thread ends that started it, so this one has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.Env = append(os.Environ(), sandboxVariable+"="+dir)
	child.SysProcAttr = ownNamespaces()
	if err := child.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
			return exit.ExitCode(), nil
		}
		return 1, fmt.Errorf("running the sandbox: %w", err)
	}
	return 0, nil
}

// build puts the programs that a sandbox has into a directory. A run that a test starts has those
// of the run that it is part of.
func build(ctx context.Context, dir string) error {
	for name, args := range map[string][]string{
		doublenatPath: {"doublenat/cmd/doublenat"},
		tailscalePath: {"."}, // a module of its own: Tailscale is none of doublenat's dependencies
	} {
		path := filepath.Join(dir, filepath.Base(name))
		if os.Getenv(builtVariable) != "" {
			if err := exec.CommandContext(ctx, "cp", name, path).Run(); err != nil {
				return fmt.Errorf("copying %s: %w", name, err)
			}
			continue
		}
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", path}, args...)...)
		cmd.Stderr = os.Stderr
		if name == tailscalePath {
			cmd.Dir = "tailscale"
			cmd.Env = append(os.Environ(), "GOFLAGS=") // not with the race detector
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("building %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// ownNamespaces starts a process in namespaces of its own, which are gone with it;
// and it is gone with the thread that started it. Who is not root is root in
// there.
func ownNamespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// furnishSandbox makes this process at home in its namespaces: nothing that is
// mounted from here on is seen outside, /proc shows its own processes, and /run,
// where ip and wireguard-go keep their things and the tests their temporary
// files, is empty and gone afterwards.
func furnishSandbox() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	if err := os.Mkdir("/run/tmp", 0o700); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", "/run/tmp"); err != nil {
		return err
	}
	// The binaries move in, so that not even SIGKILL can leave it in /tmp.
	dir := os.Getenv(sandboxVariable)
	for _, path := range []string{doublenatPath, tailscalePath} {
		binary, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, binary, 0o700); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(dir), run(exec.Command("ip", "link", "set", "lo", "up")))
}
