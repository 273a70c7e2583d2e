//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doublenat/routeros/routerostest"
)

// TestRouterModeSignals ends an examination, as its owner starts it, while rules
// are on the router. Who closes the terminal or the connection to it sends SIGHUP,
// and nobody reads any more what the examination says.
func TestRouterModeSignals(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), flowTimeout)
			defer cancel()
			router, where := serveTestRouter(t, "7.22")
			before := router.Fingerprint(natPath, nil)
			examination, hangUp := startExamination(ctx, t, where)
			interrupted := make(chan error, 1)
			router.Inject(routerostest.Fault{
				Kind: routerostest.FaultNone, Command: natPath + "/add", Skip: 1, // one rule is there already
				Do: func(*routerostest.Router) {
					var err error
					if signal == syscall.SIGHUP {
						err = hangUp()
					}
					interrupted <- errors.Join(err, examination.Process.Signal(signal))
				},
			})
			ended := examination.Wait()
			select {
			case err := <-interrupted:
				if err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("the examination ended before it had a rule: %v", ended)
			}
			// By itself, with the exit code of a failed test, and not by the signal.
			if exit := (*exec.ExitError)(nil); !errors.As(ended, &exit) || !exit.Exited() {
				t.Errorf("the examination ends with %v", ended)
			}
			if now := router.Fingerprint(natPath, nil); string(now) != string(before) {
				t.Errorf("left behind:\n%s\nwere:\n%s", now, before)
			}
		})
	}
}

// startExamination starts this program once more, to examine a router. HangUp
// closes what it writes to.
func startExamination(ctx context.Context, t *testing.T, where realRouter) (cmd *exec.Cmd, hangUp func() error) {
	t.Helper()
	terminal, its, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(ctx, "/proc/self/exe", "-test.v", "-test.run=^TestRouter$")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, sandboxVariable+"=") })
	for name, value := range map[string]string{
		"": where.address, "_USER": where.user, "_PASSWORD": where.password, "_GATEWAY": where.gateway,
	} {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s%s=%s", routerVariable, name, value))
	}
	cmd.Stdout, cmd.Stderr = its, its
	if err := errors.Join(cmd.Start(), its.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() }) // it may be closed already
	return cmd, terminal.Close
}
