package foreign

import (
	"encoding"
	"fmt"
	"log/slog"
)

// Attr makes the text in an attribute of a log line visible, see [Text]. It has the
// form of slog.HandlerOptions.ReplaceAttr. Errors and other values that are shown by
// their own words become that text; numbers, times, durations and what is encoded by
// its own rules stay what they are.
func Attr(_ []string, a slog.Attr) slog.Attr {
	a.Key = Text(a.Key)
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Text(a.Value.String()))
	case slog.KindAny:
		if text, ok := words(a.Value.Any()); ok {
			a.Value = slog.StringValue(Text(text))
		}
	default:
	}
	return a
}

// words returns the text by which a value is shown, false if it is not shown by words.
func words(v any) (text string, ok bool) {
	switch v := v.(type) {
	case nil, slog.Level, *slog.Source:
		return "", false
	case error:
		return said(v.Error)
	case fmt.Stringer:
		return said(v.String)
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		return string(b), err == nil
	case []byte:
		return string(v), true
	case []string, [][]byte:
		return fmt.Sprintf("%q", v), true
	default:
		return "", false
	}
}

// said calls what says the text. A nil pointer in an interface may panic there; slog
// shows such a value, and so nothing is said here.
func said(say func() string) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	return say(), true
}
