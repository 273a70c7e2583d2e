package remedy_test

import (
	"strings"
	"testing"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
)

// TestUPnP: what is said about a box is about the gateway, passes or does not, and names what
// to look at.
func TestUPnP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		advice remedy.Advice
		passes bool
		names  string
	}{
		"off":            {remedy.UPnPOff(), true, "UPnP"},
		"silent":         {remedy.UPnPSilent(), true, "URL of its description"},
		"nonsense":       {remedy.UPnPNonsense(), false, "firmware"},
		"not authorized": {remedy.UPnPNotAuthorized(), false, "masquerade"},
		"refused":        {remedy.UPnPRefused(), false, "by hand"},
		"conflict":       {remedy.UPnPConflict(), true, "other hosts"},
		"full":           {remedy.UPnPFull(), true, "remove"},
		"private":        {remedy.UPnPPrivate(), true, "public address"},
	} {
		if a := tt.advice; a.Hop != nat.HopGateway || a.Passes() != tt.passes || !strings.Contains(a.Text, tt.names) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
