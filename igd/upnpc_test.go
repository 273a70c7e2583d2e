//go:build linux

package igd_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// serveTCP serves a box on the loopback interface until the test ends, and returns where
// its description is.
func serveTCP(t *testing.T, box *igdtest.Gateway) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- box.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return "http://" + ln.Addr().String() + "/rootDesc.xml"
}

// TestUpnpc: Debian's upnpc, by the authors of the server that most boxes have, takes the
// box for one.
func TestUpnpc(t *testing.T) {
	t.Parallel()
	needs(t, "upnpc")
	for _, profile := range []igdtest.Profile{igdtest.IGD1(), igdtest.IGD2(), igdtest.PPP(), igdtest.Permanent(), igdtest.Invalid402()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			box := igdtest.New(igdtest.Config{Profile: profile})
			box.Put(igd.Mapping{Protocol: igd.UDP, External: 40200, Client: netip.MustParseAddr("127.0.0.9"), Internal: 1})
			url := serveTCP(t, box)
			said := func(args ...string) string { return upnpc(t, url, args...) }
			lease := "600"
			if profile.OnlyPermanent || profile.InvalidLease {
				lease = "0"
				if got := said("-a", "127.0.0.1", "4001", "40123", "tcp", "600"); !strings.Contains(got, "failed with code") {
					t.Errorf("a lease: %s", got)
				}
			}
			got := []string{said("-s"), said("-a", "127.0.0.1", "4001", "40123", "tcp", lease), said("-a", "127.0.0.1", "4001", "40200", "udp", lease)}
			want := []string{
				"Status : Connected, ExternalIPAddress = 5.6.7.8",
				"ExternalIPAddress = 5.6.7.8, external 5.6.7.8:40123 TCP is redirected to internal 127.0.0.1:4001 (duration=" + lease + ")",
				"ExternalIPAddress = 5.6.7.8, AddPortMapping(40200, 4001, 127.0.0.1) failed with code 718 (ConflictInMappingEntry)",
			}
			if profile.Version == 2 {
				got = append(got, said("-n", "127.0.0.1", "4001", "40200", "udp", lease))
				want = append(want, "ExternalIPAddress = 5.6.7.8, external 5.6.7.8:40201 UDP is redirected to internal 127.0.0.1:4001 (duration="+lease+")")
			}
			got = append(got, said("-l"), said("-d", "40123", "tcp"), said("-d", "40123", "tcp"))
			list := "Status : Connected, ExternalIPAddress = 5.6.7.8, 0 TCP 40123->127.0.0.1:4001 'libminiupnpc' '' " + lease + ", 1 UDP 40200->127.0.0.9:1 '' '' 0"
			if profile.Version == 2 {
				list += ", 2 UDP 40201->127.0.0.1:4001 'libminiupnpc' '' " + lease
			}
			want = append(want, list, "UPNP_DeletePortMapping() returned : 0", "UPNP_DeletePortMapping() failed with code : 714")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("upnpc said (-want +got):\n%s", diff)
			}
		})
	}
}

// upnpc runs it and returns the lines that tell something. What is left of a lease depends
// on the moment.
func upnpc(t *testing.T, url string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// It ends with a failure when the box says no.
	out, _ := exec.CommandContext(ctx, "upnpc", append([]string{"-u", url}, args...)...).CombinedOutput()
	telling := regexp.MustCompile(`^(Status|ExternalIPAddress|external|UPNP_|AddPort|AddAny|[0-9]+ (TCP|UDP))`)
	var said []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); telling.MatchString(line) {
			line, _, _ = strings.Cut(strings.Join(strings.Fields(line), " "), ", uptime")
			said = append(said, regexp.MustCompile(`\b59[0-9]\b`).ReplaceAllString(line, "600"))
		}
	}
	return strings.Join(said, ", ")
}
