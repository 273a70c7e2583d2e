package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
	"doublenat/natpmp"
)

// configured parses variables beside those that are required.
func configured(t *testing.T, more ...string) config.Config {
	t.Helper()
	environ := map[string]string{
		"VPN_GATEWAY": "10.2.0.1", "MIKROTIK_API_ADDRESS": "192.168.88.1", "MIKROTIK_API_PASSWORD": "",
	}
	for _, variable := range more {
		name, value, _ := strings.Cut(variable, "=")
		environ[name] = value
	}
	cfg, err := config.Parse(environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRFC6886Admit: only internal hosts that ask at an internal address
// (RFC 6886 §3.3, §5).
func TestRFC6886Admit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, client, destination string
		env                       []string
		want                      bool
	}{
		{name: "LAN", client: "192.168.88.10", destination: "192.168.88.1", want: true},
		{name: "platform that does not tell", client: "192.168.88.10", want: true},
		{name: "external address", client: "192.168.88.10", destination: "5.6.7.8"},
		{name: "external host", client: "9.9.9.9", destination: "192.168.88.1"},
		{name: "VPN gateway", client: "10.2.0.1", destination: "192.168.88.1"},
		{name: "denied", client: "192.168.88.10", destination: "192.168.88.1", env: []string{"DENIED_CLIENTS=192.168.88.10"}},
		{name: "not allowed", client: "192.168.90.10", destination: "192.168.88.1", env: []string{"ALLOWED_CLIENTS=192.168.88.0/24"}},
		{
			name: "LAN with public addresses", client: "5.6.7.9", destination: "5.6.7.8",
			env: []string{"ALLOWED_CLIENTS=5.6.7.0/24"}, want: true,
		},
		{
			name: "address that was chosen", client: "192.168.88.10", destination: "5.6.7.8",
			env: []string{"LISTEN_ADDR=5.6.7.8:5351"}, want: true,
		},
		{
			name: "container whose network is no client's", client: "192.168.88.10", destination: "172.30.254.2",
			env: []string{"ALLOWED_CLIENTS=192.168.88.0/24"}, want: true,
		},
		{
			name: "server among the denied", client: "192.168.88.10", destination: "192.168.88.2",
			env: []string{"DENIED_CLIENTS=192.168.88.0/29"}, want: true,
		},
		{
			name: "lab with one address for all", client: "127.0.0.1", destination: "127.0.0.1", want: true,
			env: []string{"VPN_GATEWAY=127.0.0.1:5352", "MIKROTIK_API_ADDRESS=127.0.0.1"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Options{Config: configured(t, tt.env...)})
			if err != nil {
				t.Fatal(err)
			}
			a := natpmp.Arrival{Client: netip.AddrPortFrom(netip.MustParseAddr(tt.client), 40000)}
			if tt.destination != "" {
				a.Destination = netip.MustParseAddr(tt.destination)
			}
			if got := d.admit(a); got != tt.want {
				t.Errorf("admitted %t, want %t", got, tt.want)
			}
		})
	}
}

// TestRFC6886AnnounceChoice: announcements go to every link on which clients are,
// and never to the outside (RFC 6886 §3.2.1).
func TestRFC6886AnnounceChoice(t *testing.T) {
	t.Parallel()
	links := func(prefixes ...string) []lan {
		var all []lan
		for i, p := range prefixes {
			name, address, _ := strings.Cut(p, "=")
			all = append(all, lan{name: name, index: i + 1, prefix: netip.MustParsePrefix(address)})
		}
		return all
	}
	const lan0, lan1, wan, tunnel, pair = "br0=192.168.88.2/24", "br1=10.7.0.1/16", "eth9=5.6.7.8/24", "wg0=10.2.0.2/24", "veth=172.30.254.2/30"
	for _, tt := range []struct {
		name, want string
		env        []string
		links      []lan
		without    string // what the reason names
	}{
		{name: "one LAN", links: links(lan0), want: "br0"},
		{name: "two LANs, outside, tunnel and container", links: links(lan0, wan, tunnel, pair, lan1), want: "br0,br1"},
		{name: "container alone", links: links(pair)},
		{name: "container, although asked for", links: links(pair), env: []string{"ANNOUNCE=on"}, want: "veth"},
		{name: "container by its name", links: links(lan0, pair), env: []string{"ANNOUNCE=on:veth"}, want: "veth"},
		{name: "outside by its name", links: links(lan0, wan), env: []string{"ANNOUNCE=on:eth9"}, want: "eth9"},
		{name: "name that is not there", links: links(lan0), env: []string{"ANNOUNCE=on:br0,br7"}, want: "br0", without: "br7"},
		{name: "names that are not there", links: links(lan0), env: []string{"ANNOUNCE=on:br7,br8"}, without: "br7, br8"},
		{name: "socket on one address", links: links(lan0, lan1), env: []string{"LISTEN_ADDR=192.168.88.2:5351"}, want: "br0"},
		{name: "nobody allowed there", links: links(lan0), env: []string{"ALLOWED_CLIENTS=10.0.0.0/8"}},
		{name: "part of the link allowed", links: links(lan0), env: []string{"ALLOWED_CLIENTS=192.168.88.128/25"}, want: "br0"},
		{name: "link in a larger network", links: links(lan0), env: []string{"ALLOWED_CLIENTS=192.168.0.0/16"}, want: "br0"},
		{name: "all of the link denied", links: links(lan0), env: []string{"DENIED_CLIENTS=192.168.0.0/16"}},
		{name: "server itself denied", links: links(lan0), env: []string{"DENIED_CLIENTS=192.168.88.2"}, want: "br0"},
		{name: "two addresses of one link", links: links(lan0, "br0=192.168.89.2/24"), want: "br0"},
		{
			name: "second address of a link", links: links(lan0, "br0=192.168.89.2/24"),
			env: []string{"LISTEN_ADDR=192.168.89.2:5351", "ANNOUNCE=on:br0"}, want: "br0",
		},
		{name: "no link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, reason := choose(tt.links, configured(t, tt.env...))
			if diff := cmp.Diff(tt.want, strings.Join(names(got), ",")); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
			if len(got) == 0 && reason == "" {
				t.Error("none, and no reason")
			}
			if !strings.Contains(reason, tt.without) {
				t.Errorf("reason %q, want it to name %s", reason, tt.without)
			}
		})
	}
}

// TestRFC6886AnnounceModes: off is off, and a socket that cannot is said to be one.
func TestRFC6886AnnounceModes(t *testing.T) {
	t.Parallel()
	if sender, reason := multicast(nil, configured(t, "ANNOUNCE=off")); sender != nil || reason != "switched off" {
		t.Errorf("off: %v, %q", sender, reason)
	}
	if sender, reason := multicast(nil, configured(t, "ANNOUNCE=on")); sender != nil || reason == "" {
		t.Errorf("on, without a socket: %v, %q", sender, reason)
	}
}
