//go:build e2e && linux

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestSandboxLeavesNothing ends a run in the middle of a flow, in the ways in which
// runs end. Nothing that it started may live on.
func TestSandboxLeavesNothing(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), flowTimeout)
			defer cancel()
			watcher, said := startRun(ctx, t, "tunnel_down")
			var space, dir string
			err := eventually(ctx, 4*patience, func() error {
				space, dir = sandboxOf(watcher)
				if living := processesIn(space); !slices.Contains(living, "doublenat") {
					return fmt.Errorf("the flow has not begun: %v", living)
				}
				return nil
			})
			err = errors.Join(err, watcher.Process.Signal(signal))
			if watcher.Wait() == nil {
				err = errors.Join(err, errors.New("the run succeeded although it was ended"))
			}
			if err != nil {
				t.Fatalf("%v; the run said: %s", err, said.String())
			}
			err = eventually(ctx, patience, func() error {
				if living := processesIn(space); len(living) > 0 {
					return fmt.Errorf("still alive: %v", living)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s was left behind (%v)", dir, err)
			}
		})
	}
}

// TestRunsSideBySide has two runs in one machine at the same time, whose worlds have
// the same names and addresses. Neither may notice.
func TestRunsSideBySide(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	ctx, cancel := context.WithTimeout(t.Context(), flowTimeout)
	defer cancel()
	type aRun struct {
		watcher *exec.Cmd
		said    *bytes.Buffer
	}
	var runs []aRun
	for range 2 {
		watcher, said := startRun(ctx, t, "renewal_keeps_open")
		runs = append(runs, aRun{watcher, said})
	}
	err := eventually(ctx, 4*patience, func() error {
		for i, r := range runs {
			space, _ := sandboxOf(r.watcher)
			if living := processesIn(space); !slices.Contains(living, "doublenat") {
				return fmt.Errorf("not both at the same time: in run %d are %v", i, living)
			}
		}
		return nil
	})
	for _, r := range runs {
		if waitErr := r.watcher.Wait(); waitErr != nil {
			err = errors.Join(err, fmt.Errorf("%w; the run said: %s", waitErr, r.said))
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// markVariable tells the runs that tests start from each other.
const markVariable = "E2E_MARK="

// startRun starts a run with one flow, in a sandbox within this sandbox, where its
// processes can be seen. Said is to be read when it has ended.
func startRun(ctx context.Context, t *testing.T, flow string) (watcher *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	watcher = exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^TestFlows$/^"+flow+"$")
	watcher.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, sandboxVariable+"=")
	}), builtVariable+"=yes", markVariable+rand.Text())
	said = new(bytes.Buffer)
	watcher.Stdout, watcher.Stderr = said, said
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	return watcher, said
}

// sandboxOf returns the process namespace of the sandbox of a run, and the directory
// in which doublenat was built for it, "" if there is none yet.
func sandboxOf(watcher *exec.Cmd) (space, dir string) {
	mark := watcher.Env[len(watcher.Env)-1]
	forProcesses(func(path, itsSpace string) {
		// One that is gone meanwhile has nothing to read.
		environ, _ := os.ReadFile(filepath.Join(path, "environ"))
		variables := strings.Split(string(environ), "\x00")
		if !slices.Contains(variables, mark) {
			return
		}
		for _, v := range variables {
			if value, ok := strings.CutPrefix(v, sandboxVariable+"="); ok {
				space, dir = itsSpace, value
			}
		}
	})
	return space, dir
}

// processesIn returns the names of all processes of a namespace that are not dead:
// those that are have no program any more.
func processesIn(space string) []string {
	var names []string
	forProcesses(func(path, itsSpace string) {
		if program, err := os.Readlink(filepath.Join(path, "exe")); err == nil && itsSpace == space {
			names = append(names, filepath.Base(program))
		}
	})
	return names
}

// forProcesses calls f with the directory in /proc and the process namespace of
// each process that is not in our own namespace.
func forProcesses(f func(path, space string)) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return // the pattern is valid
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return
	}
	for _, path := range paths {
		if space, err := os.Readlink(filepath.Join(path, "ns/pid")); err == nil && space != own {
			f(path, space)
		}
	}
}
