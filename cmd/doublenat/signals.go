package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interruptible runs f with a context that SIGINT, SIGTERM or SIGHUP ends, and returns
// f's exit code. A SIGINT after that, Ctrl-C pressed again, makes it return at once
// without waiting for f. Another SIGTERM does not: supervisors and process groups send
// it twice, and the stop under way is bounded anyway.
func interruptible(hangup *hangup, f func(context.Context) int) int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	// They are never given back: a late one would kill the process between here and its exit.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	done := make(chan int, 1)
	go func() { done <- f(ctx) }()
	for {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && hangup.handle():
			case ctx.Err() == nil:
				cancel()
			case s == os.Interrupt:
				return forcedExit(s)
			}
		}
	}
}

// forcedExit returns the exit code of a process that a signal ended.
func forcedExit(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return exitSignal + int(number)
	}
	return exitFailure
}

// hangup says what SIGHUP does. Its zero value, and nil, end the process as SIGTERM does.
type hangup struct {
	mu sync.Mutex
	do func() // guarded by mu; nil ends the process
}

// divert makes SIGHUP call do, which must not block, instead of ending the process.
func (h *hangup) divert(do func()) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.do = do
}

// handle does what SIGHUP was diverted to. It returns false where that is nothing.
func (h *hangup) handle() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	do := h.do
	h.mu.Unlock()
	if do == nil {
		return false
	}
	do()
	return true
}

// onTerminal reports whether the process belongs to a terminal. SIGHUP then says that
// the terminal is gone, and otherwise that somebody wants the daemon to look again.
func onTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = tty.Close() // nothing was written
	return true
}

// surviveBrokenPipes makes a write to a pipe that nobody reads an error, where it
// would end the process: what was opened on the router and the gateway is to be
// closed first. It lasts until the process ends, for its last words too.
func surviveBrokenPipes() {
	// A signal that is ignored would be so in the programs of ON_CHANGE_EXEC as well.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}
