package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
)

// switchLevel makes a signal switch the log to DEBUG and back to the level that it
// has now, or to INFO if that is DEBUG, until the returned function is called. Where a system has no such
// signal, nothing does.
func switchLevel(ctx context.Context, log *slog.Logger, level *slog.LevelVar) (stop func()) {
	signals := levelSignals()
	if len(signals) == 0 {
		return func() {}
	}
	normal := level.Level()
	quiet := max(normal, slog.LevelInfo)
	arrived := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(arrived, signals...)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-arrived:
			}
			next := slog.LevelDebug
			if level.Level() == slog.LevelDebug {
				next = quiet
			}
			level.Set(next)
			// At a level that shows both before and after.
			log.Log(ctx, quiet, "log level switched", "level", next)
		}
	})
	return func() {
		close(done) // the signal is kept: a late one would kill the process on its way out
		watching.Wait()
	}
}
