package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doublenat/internal/check"
	"doublenat/internal/remedy"
)

// TestEveryKindIsExplained keeps docs/troubleshooting.md whole.
func TestEveryKindIsExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := []remedy.Kind{
		remedy.KindAddress, remedy.KindProtocol, remedy.KindTLS, remedy.KindBusy, remedy.KindRejected,
		check.KindNotRunning, check.KindNotMapped, check.KindNotReached,
	}
	for _, group := range [][]trouble{routerTroubles(), requestTroubles(), packetTroubles(), gatewayTroubles()} {
		for _, tt := range group {
			kinds = append(kinds, tt.kind)
		}
	}
	for _, kind := range kinds {
		if !strings.Contains(string(text), "| `"+string(kind)+"` |") {
			t.Errorf("docs/troubleshooting.md does not explain %q", kind)
		}
	}
}
