package daemon_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp/natpmptest"
)

// step is one packet of a sequence: who sends it, and how long the test waits then.
type step struct {
	client netip.Addr
	wait   time.Duration
	packet []byte
}

// maxSteps bounds a sequence; a daemon works on more requests than that at once.
const maxSteps = 40

// steps reads a sequence: for each packet a byte that says who and how long, one
// with the length, and the packet. A length of 255 is one byte more than allowed.
func steps(b []byte) []step {
	waits := [4]time.Duration{0, 100 * time.Millisecond, 5 * time.Second, 2 * time.Minute}
	var all []step
	for len(b) >= 2 && len(all) < maxSteps {
		who, length := b[0], int(b[1])
		b = b[2:]
		packet := bytes.Clone(b[:min(length, len(b))])
		b = b[len(packet):]
		if length == 255 {
			packet = append(packet, make([]byte, 1101-len(packet))...)
		}
		all = append(all, step{client: [2]netip.Addr{alice, bob}[who&1], wait: waits[who>>1&3], packet: packet})
	}
	return all
}

// sequence is the inverse of steps, for seeds in hexadecimal: "a0 0000" is alice's
// address request, after which nobody waits, "b3 …" is bob's, after which they do.
func sequence(tb testing.TB, packets ...string) []byte {
	tb.Helper()
	var all []byte
	for _, p := range packets {
		packet := unhex(tb, p[2:])
		who := (p[1]-'0')<<1 | (p[0] - 'a')
		all = append(append(all, who, byte(len(packet))), packet...)
	}
	return all
}

// request is what a packet is, as far as replies depend on it. This is RFC 6886
// once more and not package natpmp, whose mistakes it would share.
type request struct {
	answered bool
	// key is equal for copies of one request.
	key string
	// maps is the mapping that the packet may make, as rig.rules has it.
	maps string
}

func classify(client netip.Addr, p []byte) request {
	switch {
	case len(p) < 2, len(p) > 1100, p[1] > 127:
		return request{}
	case p[0] != 0, p[1] == 0, p[1] > 2:
		return request{answered: true, key: hex.EncodeToString(p)}
	case len(p) < 12:
		return request{}
	}
	r := request{answered: true, key: hex.EncodeToString(append([]byte{p[1]}, p[4:12]...))}
	if port := binary.BigEndian.Uint16(p[4:]); port != 0 && !bytes.Equal(p[8:12], make([]byte, 4)) {
		r.maps = fmt.Sprintf("%s → %v:%d", [3]string{1: "udp", 2: "tcp"}[p[1]], client, port)
	}
	return r
}

// explains says whether the reply is one that the request may get.
func explains(request, reply []byte) bool {
	switch op := request[1]; {
	case request[0] != 0:
		return len(reply) == 8 && bytes.Equal(reply[:4], []byte{0, op | 128, 0, 1})
	case op <= 2:
		_, err := readAsRFC6886(request, reply)
		return err == nil
	case len(request) < 8:
		return len(reply) == 8 && bytes.Equal(reply[:4], []byte{0, op | 128, 0, 5})
	default:
		return bytes.Equal(reply, slices.Concat([]byte{0, op | 128, 0, 5}, request[4:]))
	}
}

// FuzzDaemon: whatever is sent, in whatever order, each request gets a reply that
// fits, nothing else does, and both layers have nothing that was not asked for.
func FuzzDaemon(f *testing.F) {
	for i, seed := range [][]byte{
		nil,
		sequence(f, "a0 0000", "a0 0080", "b1 00", "b1 0200", "a0 0003 0102030405060708"),
		sequence(f, "a0"+mapTCP, "a0"+mapTCP, "a2 0001 0000 1234 5678 00000e10", "b2 0001 0000 1234 5678 00000e10", "a0"+unmapTCP),
		sequence(f, "a1"+mapTCP, "b1"+mapTCP, "a0 0002 0000 0000 0000 00000000", "a0"+mapTCP, "b3 0002 0000 0000 0000 00000e10"),
		sequence(f, "a3 0002 0000 1234 5678 0000000a", "b3 0001 ffff 0001 0050 ffffffff", "a1 0082 0000 00000005 1234 5678 00000e10"),
		sequence(f, "a0 0001 0000 1234 5678 000000", "a0 0281 0000", "a0 0201 0000", "b0 ff7f", "b0 007f"),
	} {
		for profile := range byte(4) {
			if testing.Short() && i%4 != int(profile) {
				continue // Each kind of gateway has its turn.
			}
			f.Add(profile, seed)
		}
	}
	f.Fuzz(func(t *testing.T, profile byte, b []byte) {
		profiles := [4]natpmptest.Profile{natpmptest.RFC(), natpmptest.Proton(), natpmptest.Miniupnpd(), natpmptest.Slow()}
		onBench(t, lab.BenchConfig{Profile: profiles[profile&3]}, func(r *rig) { r.play(steps(b)) })
	})
}

// play sends a sequence and checks what came of it.
func (r *rig) play(all []step) {
	r.t.Helper()
	mouths := map[netip.Addr]*mouth{alice: r.mouth(alice), bob: r.mouth(bob)}
	least := map[netip.Addr]map[string]bool{alice: {}, bob: {}}
	most := make(map[netip.Addr]int)
	wanted := make(map[string]bool)
	for _, s := range all {
		if req := classify(s.client, s.packet); req.answered {
			least[s.client][req.key] = true
			most[s.client]++
			wanted[req.maps] = true
		}
		if _, err := mouths[s.client].conn.Write(s.packet); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(s.wait)
		for _, rule := range r.rules() {
			if !wanted[rule] {
				r.t.Errorf("nobody asked for the rule %s", rule)
			}
		}
	}
	time.Sleep(maxSteps * 10 * time.Second) // the slowest gateway, one after the other
	for client, m := range mouths {
		got := m.packets()
		if len(got) < len(least[client]) || len(got) > most[client] {
			r.t.Errorf("%v got %d replies to %d requests, %d of them different", client, len(got), most[client], len(least[client]))
		}
		for _, reply := range got {
			if !slices.ContainsFunc(all, func(s step) bool {
				return s.client == client && classify(client, s.packet).answered && explains(s.packet, reply)
			}) {
				r.t.Errorf("%v got %s, which answers nothing", client, fields(reply))
			}
		}
	}
	r.agree()
	time.Sleep(3 * time.Hour)
	r.empty()
}
