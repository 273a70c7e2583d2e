package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"

	"doublenat/internal/config"
)

// newLogger returns the one logger of the process. Text is for people, in color
// only where they can see it; JSON is for machines.
func newLogger(w io.Writer, level slog.Leveler, format config.LogFormat, environ map[string]string) *slog.Logger {
	if format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:      level,
		TimeFormat: time.DateTime,
		NoColor:    format == config.LogText || !colorful(w, environ),
	}))
}

// colorful says whether color may be written: w is a terminal that knows color,
// and the user does not object (https://no-color.org).
func colorful(w io.Writer, environ map[string]string) bool {
	f, ok := w.(*os.File)
	if !ok || environ["NO_COLOR"] != "" || environ["TERM"] == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
