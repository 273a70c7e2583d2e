package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible runs f with a context that SIGINT or SIGTERM ends, and returns
// f's exit code. After a second signal it returns at once, without waiting for f.
func interruptible(f func(context.Context) int) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	done := make(chan int, 1)
	go func() { done <- f(ctx) }()
	select {
	case code := <-done:
		return code
	case <-signals:
		cancel()
	}
	select {
	case code := <-done:
		return code
	case s := <-signals:
		return forcedExit(s)
	}
}

// forcedExit returns the exit code of a process that a signal ended.
func forcedExit(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return exitSignal + int(number)
	}
	return exitFailure
}
