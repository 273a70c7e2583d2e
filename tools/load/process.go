package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// startTime is how long a process may take until it is ready, stopTime until it has
	// stopped.
	startTime, stopTime = 30 * time.Second, 15 * time.Second
	// tickTime is the pause between two looks at something that is waited for.
	tickTime = 20 * time.Millisecond
)

// program is a process that is measured from outside.
type program struct {
	cmd *exec.Cmd
	// profiles is the host and port of its profiles, "" if it serves none.
	profiles string
}

// start runs a program. What it writes goes to the log, which may be nil.
func start(ctx context.Context, log io.Writer, environ []string, name string, args ...string) (*program, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // named by who measures
	cmd.Env = environ
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &program{cmd: cmd}, nil
}

// stop ends the program.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // how it ended says nothing about the figures
}

// usage is what a process has used so far.
type usage struct {
	// cpu is the time on a processor, of all threads.
	cpu time.Duration
	// switches is how often a thread gave up its processor to wait: each wake-up ends
	// with at least one.
	switches int
}

// usage reads it from /proc. A thread that ended takes its share with it; those of Go
// programs do not end.
func (p *program) usage() (u usage, err error) {
	tasks, err := filepath.Glob(p.file("task/*"))
	if err != nil || len(tasks) == 0 {
		return u, errors.Join(err, errors.New("the process has ended"))
	}
	for _, task := range tasks {
		times, err := os.ReadFile(filepath.Join(task, "schedstat")) //nolint:gosec // a file of /proc
		if err != nil {
			continue // it ended in this moment
		}
		if fields := strings.Fields(string(times)); len(fields) > 0 {
			ns, _ := strconv.ParseInt(fields[0], 10, 64)
			u.cpu += time.Duration(ns)
		}
		u.switches += field(filepath.Join(task, "status"), "voluntary_ctxt_switches")
	}
	return u, nil
}

// memory is what a process has of the memory, in bytes: in all, and without the pages of
// the program's own file, which cost nothing where memory is short.
type memory struct{ resident, anonymous int }

// memory reads it from /proc.
func (p *program) memory() memory {
	const kB = 1024
	status := p.file("status")
	return memory{resident: field(status, "VmRSS") * kB, anonymous: field(status, "RssAnon") * kB}
}

// file returns a file of the process in /proc.
func (p *program) file(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// field returns a number from a file with lines such as "VmRSS:   1234 kB", 0 if there is none.
func field(path, name string) int {
	text, err := os.ReadFile(path) //nolint:gosec // a file of /proc
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return n
		}
	}
	return 0
}

// allocations returns how many objects the process has allocated. To ask costs some
// itself: cost is how many.
func (p *program) allocations(ctx context.Context) (n, cost int, err error) {
	first, err := p.mallocs(ctx)
	if err != nil {
		return 0, 0, err
	}
	second, err := p.mallocs(ctx)
	return second, second - first, err
}

// mallocs reads runtime.MemStats.Mallocs from the heap profile in its textual form.
func (p *program) mallocs(ctx context.Context) (int, error) {
	body, err := get(ctx, "http://"+p.profiles+"/debug/pprof/heap?debug=1")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "# Mallocs = "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, errors.New("no Mallocs in the heap profile")
}

// record takes a CPU profile while a row is measured, unless the folder is "". The
// function that it returns waits for the end.
func (p *program) record(ctx context.Context, folder string, s scenario, d time.Duration) (done func() error) {
	if folder == "" {
		return func() error { return nil }
	}
	ended := make(chan error, 1)
	go func() {
		body, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.profiles, max(int(d/time.Second), 1)))
		if err == nil {
			name := strings.NewReplacer(", ", "-", " ", "-").Replace(s.String()) + ".pprof"
			err = os.WriteFile(filepath.Join(folder, name), body, 0o600)
		}
		ended <- err
	}()
	return func() error { return <-ended }
}

// get fetches a page.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return body, err
}

// await calls f until it returns nil.
func await(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, tickTime) {
			return err
		}
	}
}

// pause waits and says whether the context still stands.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
