package router

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/internal/nat"
)

// maxComment is how long a comment is at most, as the constant maxInstance says.
const maxComment = 143

func TestComment(t *testing.T) {
	t.Parallel()
	tests := map[string]owned{
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600": {
			instance: "default",
			key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
			inner:    20001, external: 40123, lifetime: time.Hour,
		},
		"doublenat:default udp 192.168.88.10:0 inner=20001 ext=40123 life=60": {
			instance: "default",
			key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.UDP},
			inner:    20001, external: 40123, lifetime: time.Minute,
		},
		"doublenat:default udp 192.168.88.10:3074 inner=3074 ext=3074 life=604800 by=igd": {
			instance: "default",
			key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.UDP, InternalPort: 3074},
			inner:    3074, external: 3074, lifetime: nat.MaxHeld, by: nat.IGD,
		},
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=203.0.113.0/24": {
			instance: "default",
			key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
			inner:    20001, external: 40123, lifetime: time.Hour, remote: nat.Remote{Prefix: netip.MustParsePrefix("203.0.113.0/24")},
		},
		"doublenat:" + strings.Repeat("A_-9", 8) + " udp 255.255.255.255:65535 inner=65535 ext=65535 life=604800 from=255.255.255.254/31:65535 by=igd": {
			instance: strings.Repeat("A_-9", 8),
			key:      nat.Key{Client: netip.MustParseAddr("255.255.255.255"), Protocol: nat.UDP, InternalPort: 65535},
			inner:    65535, external: 65535, lifetime: nat.MaxHeld, by: nat.IGD,
			remote: nat.Remote{Prefix: netip.MustParsePrefix("255.255.255.254/31"), Port: 65535},
		},
		"doublenat:" + strings.Repeat("A_-9", 8) + " udp 255.255.255.255:65535 inner=65535 ext=65535 life=4294967295": {
			instance: strings.Repeat("A_-9", 8),
			key:      nat.Key{Client: netip.MustParseAddr("255.255.255.255"), Protocol: nat.UDP, InternalPort: 65535},
			inner:    65535, external: 65535, lifetime: (1<<32 - 1) * time.Second,
		},
	}
	for text, o := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got := o.String(); got != text || len(got) > maxComment {
				t.Errorf("got %q (%d bytes), want %q", got, len(got), text)
			}
			if got, ok := parseComment(text); !ok || got != o {
				t.Errorf("got %+v, %v, want %+v", got, ok, o)
			}
		})
	}
}

// A remote that could not be read back is none that a comment may have.
func TestCommentOfNoRemote(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"2001:db8::/32", "203.0.113.7/24", "0.0.0.0/0"} {
		o := owned{
			instance: "default", key: nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
			inner: 20001, external: 40123, lifetime: time.Hour, remote: nat.Remote{Prefix: netip.MustParsePrefix(prefix)},
		}
		if err := o.check(); err == nil {
			t.Errorf("%s may stand in %q", prefix, o)
		}
	}
}

func TestForeignComments(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"",
		"doublenat:",
		"doublenat: my own rule, do not touch e=40999",
		"Doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		" doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 ",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 x",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 by=pcp",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 by=igd" + heldByIGD,
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 by=igd",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=0.0.0.0/0",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=203.0.113.7/24",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=203.0.113.7/32",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=203.0.113.7:0",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=2001:db8::1",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 203.0.113.7",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 by=igd from=203.0.113.7",
		"doublenat:default  tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default TCP 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default sctp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.010:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp [::1]:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp [::ffff:192.168.88.10]:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp host:6881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:06881 inner=20001 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 inner=0 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=0 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=0",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=-1",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=+1",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600.5",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=4294967296",
		"doublenat:default tcp 192.168.88.10:6881 inner=70000 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 20001 ext=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 inner=20001 e=40123 life=3600",
		"doublenat:default tcp 192.168.88.10:6881 ext=40123 inner=20001 life=3600",
		"doublenat: tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:dé tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
		"doublenat:" + strings.Repeat("a", 33) + " tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got, ok := parseComment(text); ok {
				t.Errorf("read as %+v, want somebody else's", got)
			}
		})
	}
}

func FuzzParseComment(f *testing.F) {
	f.Add("doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600")
	f.Add("doublenat:a udp 1.2.3.4:5 inner=6 ext=7 life=8")
	f.Add("doublenat:default udp 192.168.88.10:0 inner=20001 ext=40123 life=60")
	f.Add("doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600 from=203.0.113.0/24:5000 by=igd")
	f.Add("doublenat: my own rule, do not touch e=40999")
	f.Fuzz(func(t *testing.T, text string) {
		o, ok := parseComment(text)
		if !ok {
			return
		}
		if got := o.String(); got != text {
			t.Errorf("%q was read as %+v, which is written %q", text, o, got)
		}
		if len(text) > maxComment {
			t.Errorf("a comment of %d bytes was read", len(text))
		}
		for i := range len(text) {
			if text[i] < ' ' || text[i] > '~' {
				t.Errorf("a comment with byte %#02x was read", text[i])
			}
		}
	})
}
