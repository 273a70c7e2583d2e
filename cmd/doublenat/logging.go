package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"

	"doublenat/internal/config"
	"doublenat/internal/foreign"
	"doublenat/internal/lossy"
)

// logPatience is how long the end waits for a log that takes its lines slowly.
const logPatience = time.Second

// openLog returns the one logger of the daemon, which never makes it wait: what stderr
// does not take is dropped and counted. The function writes what is left, within a
// bounded time.
func (p *process) openLog(level slog.Leveler, format config.LogFormat) (log *slog.Logger, closeLog func()) {
	color := format == config.LogAuto && colorful(p.stderr, p.environ)
	w := lossy.New(lossy.Config{To: p.stderr, Notice: func(lost uint64) []byte {
		var line bytes.Buffer
		newLogger(&line, level, format, color).Log(context.Background(), slog.LevelWarn, "log lines were lost, stderr did not take them", "lines", lost)
		return line.Bytes()
	}})
	go w.Run() // closeLog waits for it, unless stderr holds it for ever
	return newLogger(w, level, format, color), func() {
		_ = w.Close(logPatience) // there is nowhere to say that it was not enough
	}
}

// newLogger returns a logger. Text is for people, in color only where they can see it;
// JSON is for machines. Text of others is made visible in both.
func newLogger(w io.Writer, level slog.Leveler, format config.LogFormat, color bool) *slog.Logger {
	if format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: foreign.Attr}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:       level,
		TimeFormat:  time.DateTime,
		NoColor:     !color,
		ReplaceAttr: plainText,
	}))
}

// plainText makes an attribute visible text for tint, which has ways of its own with
// strings: one with \x1b in it becomes a command to the terminal, and the rest of one
// that is not UTF-8 is left out. Bytes it only quotes.
func plainText(groups []string, a slog.Attr) slog.Attr {
	a = foreign.Attr(groups, a)
	switch v := a.Value; {
	case v.Kind() == slog.KindString && strings.ContainsAny(v.String(), "\\\"\x1b"):
		a.Value = slog.AnyValue([]byte(v.String()))
	case v.Kind() == slog.KindAny && !known(v.Any()):
		a.Value = slog.AnyValue([]byte(foreign.Text(fmt.Sprintf("%+v", v.Any()))))
	}
	return a
}

// known reports whether tint writes the value by rules of its own.
func known(v any) bool {
	switch v.(type) {
	case slog.Level, *slog.Source, nil:
		return true
	default:
		return false
	}
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
