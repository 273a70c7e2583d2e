package natpmptest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// step is one packet to a gateway and what comes back, in hex. Spaces are for reading.
type step struct {
	after time.Duration // waits before
	send  string
	want  string // "" for no reply
}

// Every profile has a name of its own and serves.
func TestProfilesServe(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, p := range natpmptest.Profiles() {
		names[p.Name] = true
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newBench(t, natpmptest.Config{Profile: p, Seed: 1}).dial(t, routerAddr)
				for range 10 { // lossy may need some
					if reply := ask(t, c, "0000"); reply != "" {
						return
					}
				}
				t.Error("no reply")
			})
		})
	}
	if len(names) != 24 {
		t.Errorf("%d names, want 24", len(names))
	}
}

// Each profile's promises, byte for byte. GrantNext makes random ports known.
func TestProfilesOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile natpmptest.Profile
		next    []uint16
		steps   []step
	}{
		"rfc": {
			profile: natpmptest.RFC(),
			next:    []uint16{50000},
			steps: []step{
				{send: "0000", want: "0080 0000 00000000 05060708"},
				{send: "0001 0000 1000 0000 00000e10", want: "0081 0000 00000000 1000 c350 00000e10"},
				{after: 5 * time.Second, send: "0001 ffff 1000 1234 00000e10", want: "0081 0000 00000005 1000 c350 00000e10"},
				{send: "0002 0000 1000 c350 00000e10", want: "0082 0000 00000005 1000 c350 00000e10"},
				{send: "0002 0000 2000 3000 ffffffff", want: "0082 0000 00000005 2000 3000 00001c20"},
				{send: "0002 0000 1000 9999 00000000", want: "0082 0000 00000005 1000 0000 00000000"},
				{send: "0002 0000 1000 0000 00000000", want: "0082 0000 00000005 1000 0000 00000000"},
				{send: "0001 0000 0000 1234 0000003c", want: "0081 0002 00000005 0000 0000 00000000"},
			},
		},
		"rfc, malformed": {
			profile: natpmptest.RFC(),
			steps: []step{
				{send: "", want: ""},
				{send: "00", want: ""},
				{send: "0080", want: ""},
				{send: "0281 0000 0000 0000", want: ""},
				{send: "0001 0000 1000 0000 000000", want: ""},
				{send: "0200", want: "0080 0001 0000012c"},
				{send: "0201 0000 0000 0000", want: "0081 0001 0000012c"},
				{send: "0003", want: "0083 0005 0000012c"},
				{send: "0003 aabb ccdd eeff 0102", want: "0083 0005 ccdd eeff 0102"},
			},
		},
		"proton": {
			profile: natpmptest.Proton(),
			next:    []uint16{40000, 50000},
			steps: []step{
				// The suggestion is ignored and the lifetime is 60 s whatever is asked.
				{send: "0001 0000 1000 1000 00001c20", want: "0081 0000 003d0900 1000 9c40 0000003c"},
				{send: "0002 0000 1000 0000 0000002d", want: "0082 0000 003d0900 1000 9c40 0000003c"},
				{after: 30 * time.Second, send: "0001 0000 1000 9c40 0000003c", want: "0081 0000 003d091e 1000 9c40 0000003c"},
				{send: "0001 0000 1000 0000 00000000", want: "0081 0000 003d091e 1000 0000 00000000"},
				// Internal port 0: one symmetric port for both protocols.
				{send: "0001 0000 0000 0000 0000003c", want: "0081 0000 003d091e c350c350 0000003c"},
				{send: "0001 0000 0000 0001 0000003c", want: "0081 0000 003d091e 0000 c350 0000003c"},
				{send: "0002 0000 0000 0001 0000003c", want: "0082 0000 003d091e 0000 c350 0000003c"},
				{send: "0001 0000 c350c350 0000003c", want: "0081 0000 003d091e c350c350 0000003c"},
			},
		},
		"proton-rotate": {
			profile: natpmptest.ProtonRotate(2),
			next:    []uint16{40000, 40001, 40002},
			steps: []step{
				{send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0900 1000 9c40 0000003c"},
				{send: "0002 0000 1000 0000 0000003c", want: "0082 0000 003d0900 1000 9c40 0000003c"},
				{send: "0001 0000 1000 9c40 0000003c", want: "0081 0000 003d0900 1000 9c40 0000003c"},
				{send: "0001 0000 1000 9c40 0000003c", want: "0081 0000 003d0900 1000 9c41 0000003c"},
				{send: "0002 0000 1000 9c40 0000003c", want: "0082 0000 003d0900 1000 9c41 0000003c"},
				{send: "0001 0000 1000 9c41 0000003c", want: "0081 0000 003d0900 1000 9c41 0000003c"},
				{send: "0001 0000 1000 9c41 0000003c", want: "0081 0000 003d0900 1000 9c42 0000003c"},
			},
		},
		"proton-dup": {
			profile: natpmptest.ProtonDuplicate(),
			next:    []uint16{40000, 40001},
			steps: []step{
				{send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0900 1000 9c40 0000003c"},
				{after: time.Second, send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0901 1000 9c41 0000003c"},
				{after: 3 * time.Second, send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0904 1000 9c41 0000003c"},
				{after: time.Second, send: "0001 0000 1000 9c41 0000003c", want: "0081 0000 003d0905 1000 9c41 0000003c"},
			},
		},
		"miniupnpd": {
			profile: natpmptest.Miniupnpd(),
			steps: []step{
				{send: "0001 0000 1000 0000 0001 5180", want: "0081 0000 00000000 1000 1000 00015180"},
				// Another suggestion makes a second mapping; the first stays.
				{send: "0001 0000 1000 2000 0000003c", want: "0081 0000 00000000 1000 2000 0000003c"},
				{send: "0001 0000 1001 1000 0000003c", want: "0081 0000 00000000 1001 1001 0000003c"},
				{send: "0001 0000 1000 1000 0000003c", want: "0081 0000 00000000 1000 1000 0000003c"},
				{send: "0001 0000 1002 1000 ffffffff", want: "0081 0000 00000000 1002 1002 ffffffff"},
				{send: "0001 0000 1003 1000 0000003c", want: "0081 0000 00000000 1003 1002 0000003c"},
				// Failures echo the request; opcode errors have 8 bytes; version 1 is not answered.
				{send: "0001 0000 0000 1234 0000003c", want: "0081 0002 00000000 0000 1234 0000003c"},
				{send: "0003 aabb ccdd eeff 0102", want: "0083 0005 00000000"},
				{send: "0100", want: ""},
				{send: "0001 0000 1000 0000 00000000", want: "0081 0000 0000003c 1000 0000 00000000"},
			},
		},
		"split": {
			profile: natpmptest.Split(),
			next:    []uint16{40000, 50000},
			steps: []step{
				{send: "0002 0000 1000 0000 0000003c", want: "0082 0000 003d0900 1000 9c40 0000003c"},
				{send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0900 1000 9c41 0000003c"},
				{send: "0001 0000 2000 0000 0000003c", want: "0081 0000 003d0900 2000 c350 0000003c"},
				{send: "0002 0000 2000 0000 0000003c", want: "0082 0000 003d0900 2000 c34f 0000003c"},
			},
		},
		"short": {
			profile: natpmptest.Short(10 * time.Second),
			steps: []step{
				{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1000 1000 0000000a"},
				{send: "0001 0000 1000 1000 00000001", want: "0081 0000 00000000 1000 1000 0000000a"},
			},
		},
		"short, no time at all": {
			profile: natpmptest.Short(0),
			steps:   []step{{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1000 1000 00000000"}},
		},
		"full": {
			profile: natpmptest.Full(1),
			steps: []step{
				{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1000 1000 00000e10"},
				{send: "0002 0000 1000 1000 00000e10", want: "0082 0004 00000000 1000 0000 00000000"},
				{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1000 1000 00000e10"},
			},
		},
		"noaddr": {
			profile: natpmptest.NoAddress(),
			steps: []step{
				{send: "0000", want: "0080 0003 00000000 00000000"},
				{send: "0001 0000 1000 1000 00000e10", want: "0081 0003 00000000 1000 0000 00000000"},
			},
		},
		"unauth": {
			profile: natpmptest.Unauthorized(),
			steps: []step{
				{send: "0000", want: "0080 0002 00000000 00000000"},
				{send: "0002 0000 1000 1000 00000e10", want: "0082 0002 00000000 1000 0000 00000000"},
				{send: "0002 0000 1000 1000 00000000", want: "0082 0002 00000000 1000 0000 00000000"},
			},
		},
		"wrongint": {
			profile: natpmptest.WrongInternal(),
			steps:   []step{{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1001 1000 00000e10"}},
		},
		"zeroport": {
			profile: natpmptest.RefusesZero(natpmp.ResultOutOfResources),
			steps: []step{
				{send: "0001 0000 1000 0000 00000e10", want: "0081 0004 00000000 1000 0000 00000000"},
				{send: "0001 0000 1000 1000 00000e10", want: "0081 0000 00000000 1000 1000 00000e10"},
				{send: "0001 0000 1000 0000 00000e10", want: "0081 0000 00000000 1000 1000 00000e10"},
				{send: "0000", want: "0080 0000 00000000 05060708"},
			},
		},
		"pcp": {
			profile: natpmptest.PCPOnly(),
			steps: []step{
				{after: 3 * time.Second, send: "0000", want: "0280 0001 00000708 00000003 000000000000000000000000"},
				{send: "0001 0000 1000 0000 00000e10", want: "0281 0001 00000708 00000003 000000000000000000000000"},
				{send: "0201", want: "0281 0004 00000708 00000003 000000000000000000000000"},
				{send: "0281", want: ""},
				{send: "00", want: ""},
			},
		},
		"8bit": {
			profile: natpmptest.CutPorts(),
			steps: []step{
				{send: "0001 0000 1234 5678 00000e10", want: "0081 0000 00000000 0034 0078 00000e10"},
				{send: "0001 0000 1234 0000 00000000", want: "0081 0000 00000000 0034 0000 00000000"},
				{send: "0000", want: "0080 0000 00000000 05060708"},
			},
		},
		"swapped": {
			profile: natpmptest.SwappedPorts(),
			steps:   []step{{send: "0001 0000 1234 5678 00000e10", want: "0081 0000 00000000 5678 1234 00000e10"}},
		},
		"low byte first": {
			profile: natpmptest.Profile{Garble: natpmptest.GarbleBytes},
			steps:   []step{{send: "0001 0000 1234 5678 00000e10", want: "0081 0000 00000000 3412 7856 00000e10"}},
		},
		"flip": {
			profile: natpmptest.EpochFlipper(2),
			next:    []uint16{40000},
			steps: []step{
				{send: "0000", want: "0080 0000 003d0900 05060708"},
				{after: 24 * time.Second, send: "0000", want: "0080 0000 00000400 05060708"},
				{send: "0001 0000 1000 0000 0000003c", want: "0081 0000 003d0918 1000 9c40 0000003c"},
				{send: "0001 0000 1000 0000 0000003c", want: "0081 0000 00000400 1000 9c40 0000003c"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{Profile: tt.profile})
				b.GrantNext(tt.next...)
				c := b.dial(t, routerAddr)
				for i, s := range tt.steps {
					time.Sleep(s.after)
					want := compact(s.want)
					if got := ask(t, c, s.send); got != want {
						t.Errorf("step %d: %s\n got %s\nwant %s", i, s.send, got, want)
					}
				}
			})
		})
	}
}
