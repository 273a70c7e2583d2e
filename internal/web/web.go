// Package web runs HTTP servers until they are to stop.
package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers the connections of a listener, which it closes, until ctx ends. It then waits for
// the requests in work, for as long as goodbye at most, and returns nil when nothing is left. The
// error is one of the listener; connections that there are then stay open.
func Serve(ctx context.Context, server *http.Server, ln net.Listener, goodbye time.Duration) error {
	served := make(chan struct{})
	var ending sync.WaitGroup
	ending.Go(func() {
		select {
		case <-ctx.Done():
		case <-served:
			return
		}
		left, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		if err := server.Shutdown(left); err != nil {
			_ = server.Close() // Who has not taken the answer by now gets none.
		}
	})
	err := server.Serve(ln)
	close(served)
	ending.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
