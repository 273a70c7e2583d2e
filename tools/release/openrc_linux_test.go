//go:build packages

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doublenat/routeros/routerostest"
)

// TestOpenRC puts the apk's files on a copy of this machine and lets Debian's OpenRC run the service
// there, in namespaces of its own: start, a mapping, reload, a process that hangs, restart, upgrade and removal. apk
// itself is not there to install it.
func TestOpenRC(t *testing.T) {
	for _, name := range []string{"openrc-run", "supervise-daemon", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%v: make packages-deps installs it", err)
		}
	}
	root := copyOfThisMachine(t)
	inside := boot(t, root)
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(root, "var/log/doublenat.log")); t.Failed() && err == nil {
			t.Logf("its log:\n%s", log)
		}
	})
	apk := untar(t, gunzip(t, read(t, one(t, *firstDir, "*_linux_amd64.apk"))))
	for name, f := range apk {
		if strings.HasPrefix(name, ".") || f.mode.IsDir() {
			continue
		}
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.data, 0o600), os.Chmod(path, f.mode.Perm())); err != nil {
			t.Fatal(err)
		}
	}
	script := func(name string, args ...string) string {
		t.Helper()
		if apk[name].data == nil {
			t.Fatalf("the apk has no %s", name)
		}
		return inside.run(append([]string{"sh", "-ec", string(apk[name].data), "script"}, args...)...)
	}
	// Debian's adduser has other flags than Alpine's.
	inside.run("sh", "-ec", `PATH=/alpine:$PATH; mkdir -p /alpine /run/openrc; touch /run/openrc/softlevel
		printf '#!/bin/sh\nexec groupadd --system doublenat\n' >/alpine/addgroup
		printf '#!/bin/sh\nexec useradd --system -g doublenat -M -d /var/empty -s /sbin/nologin doublenat\n' >/alpine/adduser
		chmod +x /alpine/*; `+string(apk[".pre-install"].data))
	if said := script(".post-install", "0.0.1"); !strings.Contains(said, "rc-update add doublenat") {
		t.Errorf("it does not say what to do next:\n%s", said)
	}

	const gatewayAt, routerAt, listenAt = "127.62.0.1", "127.62.0.2", "127.62.0.3"
	gateway, router, stop := surroundings(t, gatewayAt, routerAt)
	defer stop()
	env := filepath.Join(root, "etc/doublenat/doublenat.env")
	text := regexp.MustCompile(`(?m)^(VPN_GATEWAY|MIKROTIK_API_ADDRESS|HTTP_ADDR)=.*\n`).ReplaceAllString(string(read(t, env)), "")
	text += "VPN_GATEWAY=" + gatewayAt + "\n  MIKROTIK_API_ADDRESS = \n; touch /run/as-root\nMIKROTIK_API_USER='" + routerostest.LeastUser + "'\n"
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/doublenat/doublenat.env", text, 0o600)
	write("etc/doublenat/router-password", routerostest.LeastPassword+"\n", 0o600)
	write("etc/conf.d/doublenat", "healthcheck_delay=5\nhealthcheck_timer=5\nretry=TERM/2/KILL/5\n", 0o644)
	if said, err := inside.try("rc-service", "doublenat", "start"); err == nil || !strings.Contains(said, "no setting such as NAME=value") {
		t.Errorf("with a line that is no setting the start said %v\n%s", err, said)
	}
	text = strings.Replace(text, "  MIKROTIK_API_ADDRESS = \n", "\tMIKROTIK_API_ADDRESS=\"$(touch /run/as-root)\"\n", 1)
	write("etc/doublenat/doublenat.env", text, 0o600)
	if said, err := inside.try("rc-service", "doublenat", "start"); err == nil || !strings.Contains(said, "MIKROTIK_API_ADDRESS") {
		t.Errorf("with a wrong address the start said %v\n%s", err, said)
	}
	text = strings.Replace(text, `"$(touch /run/as-root)"`, `"`+routerAt+"\"   ", 1) +
		"MIKROTIK_IN_INTERFACE=" + routerostest.TunnelInterface + "\nLISTEN_ADDR=" + listenAt + ":5351"
	write("etc/doublenat/doublenat.env", text, 0o600)
	inside.run("rc-service", "doublenat", "start")
	mapped(t, listenAt)
	if rule, ok := router.Find("/ip/firewall/nat", "to-ports", "8080"); !ok || len(gateway.Mappings()) != 1 {
		t.Errorf("rule %v, leases %v", rule, gateway.Mappings())
	}
	if said := inside.run("rc-service", "doublenat", "status"); !strings.Contains(said, "started") {
		t.Errorf("its status is %s", said)
	}
	if said, err := inside.try("ls", "/run/as-root"); err == nil {
		t.Errorf("a setting was run: %s", said)
	}
	first := serviceProcess(t, inside)
	judgeProcess(t, inside, first)
	inside.run("doublenat", "status", "--health")

	inside.run("rc-service", "doublenat", "reload")
	inside.run("kill", "-STOP", first) // as if it was stuck
	second := first
	for end := time.Now().Add(60 * time.Second); second == first || second == ""; second = serviceProcess(t, inside) {
		if time.Now().After(end) {
			t.Fatal("a process that does not answer was not replaced")
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // another program's clock
	}
	mapped(t, listenAt)
	if said := script(".post-upgrade", "0.0.2", "0.0.1"); !strings.Contains(said, "Starting doublenat") {
		t.Errorf("the upgrade says\n%s", said)
	}
	mapped(t, listenAt)
	if third := serviceProcess(t, inside); third == second {
		t.Error("the upgrade did not restart it")
	}
	if len(gateway.Mappings()) != 1 {
		t.Error("SHUTDOWN=keep of the settings did not keep the lease")
	}
	inside.run("rc-update", "add", "doublenat", "default")
	script(".pre-deinstall", "0.0.2")
	if said, err := inside.try("rc-service", "doublenat", "status"); err == nil || !strings.Contains(said, "stopped") {
		t.Errorf("after the removal its status is %v, %s", err, said)
	}
	if said := inside.run("sh", "-c", "rc-update show; ls /run/credentials; pgrep -x doublenat || true"); strings.Contains(said, "doublenat") {
		t.Errorf("the removal left %s", said)
	}
	if log := inside.run("cat", "/var/log/doublenat.log"); !strings.Contains(log, "stop") || strings.Contains(log, routerostest.LeastPassword) {
		t.Errorf("the log says\n%s", log)
	}
}

// serviceProcess is the number of the process that serves, or empty.
func serviceProcess(t *testing.T, inside machine) string {
	t.Helper()
	return strings.TrimSpace(inside.run("sh", "-c", "pgrep -x doublenat || true"))
}

// judgeProcess: the service runs as its user, without a way to more rights, and only it can read the password.
func judgeProcess(t *testing.T, inside machine, pid string) {
	t.Helper()
	if _, err := strconv.Atoi(pid); err != nil {
		t.Fatalf("the service's process is %q", pid)
	}
	user := strings.TrimSpace(inside.run("id", "-u", "doublenat"))
	status := inside.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{`Uid:\t` + user + `\t` + user, `NoNewPrivs:\t1`, `CapEff:\t0+\n`, `Umask:\t0077`} {
		if !regexp.MustCompile(want).MatchString(status) {
			t.Errorf("the process has no %q:\n%s", want, status)
		}
	}
	for path, want := range map[string]string{
		"/run/doublenat": "755 doublenat", "/run/credentials/doublenat": "750 root", "/run/credentials/doublenat/router-password": "440 root",
		"/etc/doublenat/doublenat.env": "600 root", "/var/log/doublenat.log": "640 doublenat",
	} {
		if got := strings.TrimSpace(inside.run("stat", "--format", "%a %U", path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if environ := inside.run("cat", "/proc/"+pid+"/environ"); strings.Contains(environ, routerostest.LeastPassword) {
		t.Error("the password is in the environment")
	}
}

// machine is a copy of this machine with processes of its own.
type machine struct {
	t    *testing.T
	init string // process number of its first process
}

// boot starts the first process, which collects those that lost their parents, of a machine with no services.
func boot(t *testing.T, root string) machine {
	t.Helper()
	ready, err := os.Create(filepath.Join(root, "ready")) // cmd.Start returns before the root is another one
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	cmd := exec.Command("/bin/bash", "-c", "mount -t proc proc /proc; rm -f /etc/init.d/*; rm /ready; sleep infinity & wait")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // and with it all others
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ready.Name()); errors.Is(err, os.ErrNotExist) {
			return machine{t, strconv.Itoa(cmd.Process.Pid)}
		}
		if time.Now().After(end) {
			t.Fatal("the copy of this machine does not start")
		}
	}
}

// try runs a command and returns what it prints.
func (m machine) try(args ...string) (string, error) {
	m.t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(m.t.Context(), "nsenter", append([]string{"--target", m.init, "--pid", "--mount", "--ipc", "--uts", "--root", "--wd"}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	cmd.WaitDelay = time.Second // a daemon may keep its output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return said.String(), err
}

// run is try for a command that must not fail.
func (m machine) run(args ...string) string {
	m.t.Helper()
	said, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%q: %v\n%s", args, err, said)
	}
	return said
}
