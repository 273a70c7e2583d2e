package config

import (
	"fmt"
	"io"
	"log/slog"
)

// dots is what a secret looks like, whatever its length.
const dots = "••••••"

// Secret is a text that shows itself to nobody by accident: every format verb,
// every encoder and slog print dots. The zero value is a secret that is not set.
type Secret struct {
	// value is behind a pointer because fmt prints the insides of a Secret in an
	// unexported field of another struct without asking its methods; it does not
	// follow a pointer there.
	value *string
}

var (
	_ fmt.Formatter  = Secret{}
	_ fmt.Stringer   = Secret{}
	_ slog.LogValuer = Secret{}
)

// NewSecret wraps a text, which may be empty.
func NewSecret(text string) Secret { return Secret{value: &text} }

// Reveal returns the text itself, empty for the zero value. It is for whoever
// hands the secret to the other side, and for nobody else.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsSet says whether the secret was given, even as an empty text.
func (s Secret) IsSet() bool { return s.value != nil }

// Equal says whether both secrets are set to the same text or both are not set.
func (s Secret) Equal(other Secret) bool {
	return s.IsSet() == other.IsSet() && s.Reveal() == other.Reveal()
}

// String returns dots.
func (Secret) String() string { return dots }

// Format writes dots for every verb, %#v and %x included.
func (Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, dots) // fmt takes no error back
}

// MarshalText returns dots, for JSON and every other encoder of text.
func (Secret) MarshalText() ([]byte, error) { return []byte(dots), nil }

// LogValue returns dots.
func (Secret) LogValue() slog.Value { return slog.StringValue(dots) }
