package lossy

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Config is what a [Writer] needs. It is copied by [New].
type Config struct {
	// To takes the lines. It may block for ever, fail, or be gone. Required.
	To io.Writer
	// Capacity bounds what waits, in bytes; 0 means 256 KiB.
	Capacity int
	// Notice returns the line that says how many lines were lost. It is written where
	// they are missing, once lines come through again. Nil says nothing.
	Notice func(lost uint64) []byte
}

// ErrStuck is returned when the time was up before everything was written.
var ErrStuck = errors.New("log: the destination accepts no data")

// busyPause is the wait before a write is repeated to what can take nothing for the
// moment: somebody else has made the pipe or terminal that we share non-blocking.
const busyPause = 20 * time.Millisecond

// Writer queues lines for another writer. Make one with [New]. Its methods may be
// called from any goroutine.
type Writer struct {
	cfg Config
	// wake is signaled when there is something to write, or the end has come.
	wake chan struct{}
	// ended is closed when Run has returned, abandoned when nobody waits for it any more.
	ended, abandoned chan struct{}

	mu      sync.Mutex // guards what follows; held for moments only
	lines   [][]byte
	size    int    // of lines, in bytes
	dropped uint64 // lines that found the queue full, since the last notice
	total   uint64 // lines that were lost so far, for whatever reason
	closed  bool

	// What follows belongs to Run.
	failed uint64 // lines that could not be written, since the last one that could
	torn   bool   // the last line was written in part
}

var _ io.Writer = (*Writer)(nil)

// New returns a writer that starts nothing: lines wait until [Writer.Run].
func New(cfg Config) *Writer {
	if cfg.Capacity == 0 {
		cfg.Capacity = 256 << 10
	}
	if cfg.Notice == nil {
		cfg.Notice = func(uint64) []byte { return nil }
	}
	return &Writer{cfg: cfg, wake: make(chan struct{}, 1), ended: make(chan struct{}), abandoned: make(chan struct{})}
}

// Write queues one line, whose end is in p. It never blocks and never fails: a line
// for which there is no room is dropped. While lines are dropped, all are, until half
// of the queue is written, so that the log has one gap and not many.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.dropped > 0 || w.size+len(p) > w.cfg.Capacity {
		w.dropped++
		w.total++
		w.signalLocked() // a line longer than the queue is dropped from an empty one
		return len(p), nil
	}
	if len(p) > 0 {
		w.lines = append(w.lines, bytes.Clone(p))
		w.size += len(p)
	}
	w.signalLocked()
	return len(p), nil
}

// Lost returns how many lines were lost so far.
func (w *Writer) Lost() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Run writes what is queued until [Writer.Close] and then the rest. It is called
// once, and returns late or never where the writer below blocks.
func (w *Writer) Run() {
	defer close(w.ended)
	for {
		line, ok := w.next()
		if !ok {
			return
		}
		if line == nil {
			<-w.wake
			continue
		}
		w.emit(line)
	}
}

// Close takes no more lines, and waits for Run to write what is queued, but no longer
// than patience. It returns [ErrStuck] if that was not enough; what is left is lost,
// and Run returns as soon as the writer below lets it. It is called once.
func (w *Writer) Close(patience time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.signalLocked()
	w.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.ended:
		return nil
	case <-timer.C:
		close(w.abandoned)
		return ErrStuck
	}
}

func (w *Writer) signalLocked() {
	select {
	case w.wake <- struct{}{}:
	default: // One signal is waiting already.
	}
}

// next takes the next line out: nil while there is none, and false at the end. A
// notice stands where lines were dropped.
func (w *Writer) next() (line []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dropped > 0 && w.size <= w.cfg.Capacity/2 {
		if notice := w.cfg.Notice(w.dropped); len(notice) > 0 {
			w.lines = append(w.lines, notice)
			w.size += len(notice)
		}
		w.dropped = 0
	}
	if w.over() {
		return nil, false
	}
	if len(w.lines) == 0 {
		return nil, true
	}
	line = w.lines[0]
	w.lines[0] = nil
	w.lines = w.lines[1:]
	w.size -= len(line)
	return line, true
}

// over reports whether nothing is left to do. It is called with mu held.
func (w *Writer) over() bool {
	select {
	case <-w.abandoned:
		return true
	default:
		return w.closed && len(w.lines) == 0
	}
}

// emit writes a line, after a word about those before it that could not be written.
func (w *Writer) emit(line []byte) {
	if w.failed > 0 {
		line = slices.Concat(w.cfg.Notice(w.failed), line)
	}
	if w.torn {
		line = slices.Concat([]byte{'\n'}, line)
	}
	n, err := w.write(line)
	if err == nil {
		w.failed, w.torn = 0, false
		return
	}
	w.torn = w.torn && n == 0 || n > 0
	w.failed++
	w.mu.Lock()
	w.total++
	w.mu.Unlock()
}

// write writes all of the line, and waits for a writer that is busy.
func (w *Writer) write(line []byte) (n int, err error) {
	for {
		part, err := w.cfg.To.Write(line[n:])
		n += part
		if n >= len(line) || !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		select {
		case <-time.After(busyPause):
		case <-w.abandoned:
			return n, err
		}
	}
}
