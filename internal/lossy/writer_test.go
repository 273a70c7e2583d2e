package lossy_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lossy"
)

// sink is what a log is written to: a pipe that somebody reads or not, a disk that is
// full or not.
type sink struct {
	// turn takes a token before each write; nil lets all through.
	turn chan struct{}

	// slow asks for a turn, which has to be made in the bubble of the test.
	slow bool

	mu   sync.Mutex
	text strings.Builder // guarded by mu, as what follows
	errs []error         // of the next writes, nil for one that works
	part int             // how many bytes a write that fails takes
}

func (s *sink) Write(p []byte) (int, error) {
	if s.turn != nil {
		<-s.turn
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		if err != nil {
			n := min(s.part, len(p))
			s.text.Write(p[:n])
			return n, err
		}
	}
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func notice(lost uint64) []byte { return fmt.Appendf(nil, "lost %d\n", lost) }

// run runs the writer in a bubble of virtual time.
func run(t *testing.T, cfg lossy.Config, test func(w *lossy.Writer)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		cfg.Notice = notice
		if to, ok := cfg.To.(*sink); ok && to.slow {
			to.turn = make(chan struct{})
		}
		w := lossy.New(cfg)
		var running sync.WaitGroup
		running.Go(w.Run)
		test(w)
		running.Wait()
	})
}

func write(t *testing.T, w io.Writer, line string) {
	t.Helper()
	if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("%q: %d, %v", line, n, err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	to := &sink{}
	run(t, lossy.Config{To: to}, func(w *lossy.Writer) {
		buf := []byte("one\n")
		_, _ = w.Write(buf)
		copy(buf, "XXXX") // slog uses its buffers again
		write(t, w, "two\n")
		synctest.Wait()
		if got := to.String(); got != "one\ntwo\n" {
			t.Errorf("while it runs: %q", got)
		}
		write(t, w, "three\n")
		if err := w.Close(time.Second); err != nil {
			t.Error(err)
		}
		write(t, w, "too late\n")
		if got := to.String(); got != "one\ntwo\nthree\n" {
			t.Errorf("got %q", got)
		}
		if got := w.Lost(); got != 1 {
			t.Errorf("%d lost, want the one after the end", got)
		}
	})
}

// A reader that stops for a while costs lines and nothing else. There is one gap, in
// its place, with a line that says how many are missing.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	to := &sink{slow: true}
	run(t, lossy.Config{To: to, Capacity: 40}, func(w *lossy.Writer) {
		for i := range 100 {
			write(t, w, fmt.Sprintf("line %04d\n", i)) // 10 bytes
			synctest.Wait()
		}
		if got := w.Lost(); got != 95 { // one is being written, four wait
			t.Errorf("%d lost, want 95", got)
		}
		to.turn <- struct{}{}
		synctest.Wait()
		write(t, w, "dropped\n") // there would be room for it, and then a gap after it
		for range 2 {
			to.turn <- struct{}{}
			synctest.Wait()
		}
		write(t, w, "heard\n")
		close(to.turn)
		if err := w.Close(time.Second); err != nil {
			t.Error(err)
		}
		want := "line 0000\nline 0001\nline 0002\nline 0003\nline 0004\nlost 96\nheard\n"
		if diff := cmp.Diff(want, to.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The notice comes also when nothing follows it.
func TestNoticeWithoutMore(t *testing.T) {
	t.Parallel()
	to := &sink{slow: true}
	run(t, lossy.Config{To: to, Capacity: 10}, func(w *lossy.Writer) {
		for range 5 {
			write(t, w, "line 0000\n")
			synctest.Wait()
		}
		close(to.turn)
		synctest.Wait()
		if got, want := to.String(), "line 0000\nline 0000\nlost 3\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = w.Close(time.Second)
	})
}

func TestLineBeyondCapacity(t *testing.T) {
	t.Parallel()
	to := &sink{}
	run(t, lossy.Config{To: to, Capacity: 10}, func(w *lossy.Writer) {
		synctest.Wait()
		write(t, w, strings.Repeat("x", 11))
		write(t, w, "dropped\n")
		synctest.Wait()
		write(t, w, "ok\n")
		_ = w.Close(time.Second)
		if got, want := to.String(), "lost 2\nok\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A disk that is full, and a reader that is gone, fail each write. A line that was
// written in part gets its end before the next.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		part int
		want string
	}{
		{"nothing written", 0, "one\nlost 2\nfour\nfive\n"},
		{"written in part", 2, "one\ntw\nl\nlost 2\nfour\nfive\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			to := &sink{part: tt.part, errs: []error{nil, syscall.ENOSPC, syscall.EPIPE, nil}}
			run(t, lossy.Config{To: to}, func(w *lossy.Writer) {
				for _, line := range []string{"one\n", "two\n", "three\n", "four\n", "five\n"} {
					write(t, w, line)
				}
				if err := w.Close(time.Second); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, to.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if got := w.Lost(); got != 2 {
					t.Errorf("%d lost, want 2", got)
				}
			})
		})
	}
}

// A pipe that somebody made non-blocking is asked again.
func TestBusy(t *testing.T) {
	t.Parallel()
	busy := fmt.Errorf("write: %w", syscall.EAGAIN)
	to := &sink{part: 2, errs: []error{busy, busy, nil, nil}}
	run(t, lossy.Config{To: to}, func(w *lossy.Writer) {
		write(t, w, "one two\n")
		write(t, w, "three\n")
		if err := w.Close(time.Second); err != nil {
			t.Error(err)
		}
		if got, want := to.String(), "one two\nthree\n"; got != want || w.Lost() != 0 {
			t.Errorf("got %q, want %q; %d lost", got, want, w.Lost())
		}
	})
}

// The end is bounded, whatever the log does.
func TestCloseWhenStuck(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]*sink{
		"blocks": {slow: true},
		"busy":   {errs: repeat(syscall.EAGAIN, 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, lossy.Config{To: to}, func(w *lossy.Writer) {
				write(t, w, "one\n")
				write(t, w, "two\n")
				began := time.Now()
				if err := w.Close(time.Second); !errors.Is(err, lossy.ErrStuck) || time.Since(began) != time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if to.turn != nil {
					close(to.turn) // so that Run can return
				}
			})
			if got := to.String(); strings.Contains(got, "two") {
				t.Errorf("%q: written after the end", got)
			}
		})
	}
}

func repeat(err error, n int) []error {
	all := make([]error, n)
	for i := range all {
		all[i] = err
	}
	return all
}
