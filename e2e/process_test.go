//go:build e2e && linux

package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs beside the test.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   record
	ended chan struct{} // closed when it has ended
	err   error         // how it ended; read it after ended
}

// startProcess starts a program, whose last lines are shown if the test fails. It
// is killed at the end of the test at the latest.
func startProcess(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.log
	}
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", name, p.log.tail(80))
		}
	})
	return p
}

// startDialogue starts a program that says a line at a time, and listens. The lines end when it
// does.
func startDialogue(t *testing.T, name string, cmd *exec.Cmd) (p *process, input io.WriteCloser, lines *bufio.Scanner, err error) {
	t.Helper()
	if input, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	said, writer := io.Pipe()
	cmd.Stdout = writer
	p = startProcess(t, name, cmd)
	go func() {
		<-p.ended
		_ = writer.Close() // always nil
	}()
	return p, input, bufio.NewScanner(said), nil
}

// kill ends the program at once, and waits until it has. Killing it again is nothing.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it has ended already, which is what is wanted
	<-p.ended
}

// stop asks the program to end, and returns how it did.
func (p *process) stop(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s has ended before it was asked to: %w", p.name, errors.Join(err, p.err))
	}
	return p.wait(within)
}

// wait waits until the program ends by itself, and returns how it did.
func (p *process) wait(within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-timer.C:
		return fmt.Errorf("%s did not stop within %v", p.name, within)
	}
}

// record keeps what a program writes.
type record struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write appends to the record.
func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// String returns all that was written.
func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// tail returns the last lines.
func (r *record) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(r.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
