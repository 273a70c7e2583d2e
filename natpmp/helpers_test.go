package natpmp_test

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"sync"
)

func hexString(b []byte) string { return hex.EncodeToString(b) }

// recordLogs returns a logger and a function that returns what was logged so far.
func recordLogs() (*slog.Logger, func() string) {
	var w lockedBuffer
	return slog.New(slog.NewTextHandler(&w, &slog.HandlerOptions{Level: slog.LevelDebug})), w.String
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
