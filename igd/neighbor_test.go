//go:build linux

package igd_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inside says that this process is in a network namespace of its own.
var inside = flag.Bool("inside", false, "run in the network namespace of this process")

// needs skips a test without the programs that it is about.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// alone says whether the test runs in a network namespace of its own. Else it has run
// it there, in another process.
func alone(t *testing.T) bool {
	t.Helper()
	if *inside {
		return true
	}
	needs(t, "unshare", "nsenter", "ip")
	if os.Getuid() != 0 {
		t.Skip("only root makes network namespaces")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "-n", self, "-test.run", "^"+t.Name()+"$", "-test.v", "-inside").CombinedOutput()
	t.Logf("%s", out)
	switch {
	case err != nil:
		t.Errorf("in a namespace of its own: %v", err)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skip("it was skipped there")
	}
	return false
}

// neighbor is another network namespace, at the other end of a cable.
type neighbor struct {
	t   *testing.T
	pid string
}

// newNeighbor connects this namespace, which gets the address here, with a new one, which
// gets the address there, on the interfaces lan0 of both.
func newNeighbor(t *testing.T, here, there string) *neighbor {
	t.Helper()
	// It lives until its standard input is closed.
	holder := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c", "echo ready; read end")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = holder.Wait()
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	n := &neighbor{t: t, pid: strconv.Itoa(holder.Process.Pid)}
	for _, line := range []string{
		"ip link set lo up",
		"ip link add lan0 type veth peer name lan0 netns " + n.pid,
		"ip addr add " + here + "/24 dev lan0", "ip link set lan0 up",
	} {
		must(t, exec.CommandContext(t.Context(), "sh", "-c", line))
	}
	n.must("ip link set lo up", "ip addr add "+there+"/24 dev lan0", "ip link set lan0 up")
	return n
}

// command returns a command that will run there.
func (n *neighbor) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(n.t.Context(), 40*time.Second)
	n.t.Cleanup(cancel)
	return exec.CommandContext(ctx, "nsenter", append([]string{"-t", n.pid, "-n", "--"}, args...)...)
}

// must runs lines of a shell there.
func (n *neighbor) must(lines ...string) {
	n.t.Helper()
	must(n.t, n.command("sh", "-ec", strings.Join(lines, "\n")))
}

// must runs a command that has to work, and returns what it says.
func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}
