package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// blocked takes nothing until it is released.
type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}

// gonePipe is a pipe whose reader went away.
type gonePipe struct{}

func (gonePipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// Nobody waits for the last words, and who reads no more gets none.
func TestLastWords(t *testing.T) {
	t.Parallel()
	stuck := make(blocked)
	defer close(stuck)
	p := &process{stderr: stuck}
	if code := p.run(t.Context(), []string{"serve"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	var errs bytes.Buffer
	p = &process{stdout: gonePipe{}, stderr: &errs}
	if code := p.run(t.Context(), []string{"version"}); code != exitSignal+int(syscall.SIGPIPE) || errs.Len() > 0 {
		t.Errorf("%d: %q", code, errs.String())
	}
}

// Line ends are shown as such where they are ours.
func TestWords(t *testing.T) {
	t.Parallel()
	router := errors.New("no such\nitem")
	for want, err := range map[string]error{
		`no such\nitem`:                 router,
		"asking: no such\\nitem\n→ try": fmt.Errorf("asking: %w", advised{router, "try"}),
		`a: no such\nitem\n→ try: b`:    fmt.Errorf("a: %w: b", advised{router, "try"}), // it does not end with the advice
		"no such\\nitem\nother\\x1b[A":  errors.Join(router, errors.New("other\x1b[A")),
		"two\n  lines\\x1b":             usageError{errors.New("two\n  lines\x1b")},
	} {
		if got := words(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
