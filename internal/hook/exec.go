package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	// searchPath is where the program finds others. The daemon's own environment is
	// not handed on: the router's password is in it.
	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// maxOutput is how much of what a program prints is kept for the log.
	maxOutput = 1024
	// waitDelay is how long is waited for the output of a program that has ended,
	// which children that it left behind may hold open.
	waitDelay = time.Second
)

// runner delivers events by running a program.
type runner struct {
	argv    []string
	timeout time.Duration
}

// deliver runs the program once with the event in its environment and on its
// standard input. A failure is final: whether the program did its work is unknown.
func (r *runner) deliver(ctx context.Context, ev Event) error {
	body, err := ev.body()
	if err != nil {
		return fmt.Errorf("encoding the event: %w: %w", errFinal, err)
	}
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	out := &tail{limit: maxOutput}
	cmd := exec.CommandContext(ctx, r.argv[0], r.argv[1:]...) //nolint:gosec // it is the operator's own program
	cmd.Env = append(ev.environ(), searchPath)
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(body)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitDelay
	killGroup(cmd)
	err = cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil // A child that goes on in the background is the program's business.
	case stopping.Err() != nil:
		return fmt.Errorf("the program was cut off because doublenat stops, %w", errFinal)
	case ctx.Err() != nil:
		return fmt.Errorf("the program was killed after %v, %w", r.timeout, errFinal)
	default:
		return fmt.Errorf("running the program: %w, %w; it said %q", err, errFinal, out.String())
	}
}

// tail keeps the last bytes that were written to it.
type tail struct {
	limit int
	kept  []byte
}

// Write keeps what fits.
func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// String returns what was kept, without surrounding blanks.
func (t *tail) String() string { return strings.TrimSpace(string(t.kept)) }
