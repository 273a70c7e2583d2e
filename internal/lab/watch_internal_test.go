package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a visitor is told to type is there for the languages that are spoken.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	host := netip.MustParseAddr("127.88.0.2")
	for name, tt := range map[string]struct {
		environ map[string]string
		want    []string
	}{
		"NAT-PMP alone": {},
		"PCP":           {map[string]string{"PCP": "on"}, []string{"doublenat map tcp 9000 -g 127.88.0.2:15351 --by pcp"}},
		"UPnP": {map[string]string{"UPNP": "on"}, []string{
			"doublenat map tcp 9000 -g 127.88.0.2 --by igd", "upnpc -u http://127.88.0.2:5351/igd2.xml -n 127.0.0.1 9000 9000 tcp 3600",
		}},
		"UPnP elsewhere": {map[string]string{"UPNP": "on", "UPNP_ADDR": "127.88.0.2:49000"}, []string{
			"doublenat map tcp 9000 -g 127.88.0.2 --by igd", "upnpc -u http://127.88.0.2:49000/igd2.xml -n 127.0.0.1 9000 9000 tcp 3600",
		}},
		"at a port": {map[string]string{"UPNP": "on", "UPNP_ADDR": ":49001"}, []string{
			"doublenat map tcp 9000 -g 127.88.0.2 --by igd", "upnpc -u http://127.88.0.2:49001/igd2.xml -n 127.0.0.1 9000 9000 tcp 3600",
		}},
	} {
		if diff := cmp.Diff(tt.want, otherLanguages("doublenat", tt.environ, host, "127.88.0.2:15351")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
