package routeros

import (
	"fmt"
	"io"
	"log/slog"
)

// dots is what stands for a secret wherever one would be printed.
const dots = "....."

// Secret is a password. However it is printed, alone or inside something else, it shows
// dots: the text is behind a pointer, so even %+v of a struct with a Secret in an
// unexported field cannot reach it. The zero value is the empty password.
type Secret struct{ text *string }

// NewSecret returns the text as a Secret.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text, for sending it to the router.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns dots.
func (s Secret) String() string { return dots }

// Format writes dots for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, dots) }

// LogValue returns dots.
func (s Secret) LogValue() slog.Value { return slog.StringValue(dots) }

// MarshalText returns dots, so that encoders do not look inside.
func (s Secret) MarshalText() ([]byte, error) { return []byte(dots), nil }
