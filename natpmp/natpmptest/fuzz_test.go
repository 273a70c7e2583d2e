package natpmptest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// Whatever comes in, a gateway that does not lie answers with nothing or with one
// packet that RFC 6886 allows as the answer to that.
func FuzzGatewayAnswers(f *testing.F) {
	for _, seed := range []string{
		"", "00", "0000", "0080", "0200", "0003", "0003aabbccddeeff0102", "000100001000000000000e10", "00020000000000000000003c",
		"000100000000000000000000", "0001ffff1000ffffffffffff", "00010000ffffffff0000003c", "0001000010000000000000", "017f00",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		for i := range natpmptest.Profiles() {
			f.Add(b, uint8(i))
		}
	}
	f.Add(append([]byte{0, 1}, make([]byte, natpmp.MaxPacket)...), uint8(0)) // too long
	profiles := natpmptest.Profiles()
	f.Fuzz(func(t *testing.T, packet []byte, which uint8) {
		p := profiles[int(which)%len(profiles)]
		p.Lies, p.Requests, p.Replies = nil, natpmptest.Faults{}, natpmptest.Faults{}
		p.Garble, p.PCPOnly = natpmptest.GarbleNothing, false
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, natpmptest.Config{Profile: p, Seed: 1})
			c := b.dial(t, routerAddr)
			if _, err := c.Write(packet); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			buf := make([]byte, 2000)
			n, err := c.Read(buf)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				n = 0
			}
			checkReply(t, packet, buf[:n])
		})
	})
}

// checkReply checks length, opcode and result of a reply; empty is none.
func checkReply(t *testing.T, packet, reply []byte) {
	t.Helper()
	_, err := natpmp.ParseRequest(packet)
	if len(reply) == 0 {
		if err == nil && len(packet) <= natpmp.MaxPacket {
			t.Fatalf("%x was not answered", packet)
		}
		return
	}
	if errors.Is(err, natpmp.ErrShort) || errors.Is(err, natpmp.ErrIsResponse) || len(packet) > natpmp.MaxPacket {
		t.Fatalf("%x was answered with %x", packet, reply)
	}
	if len(reply) < 8 || reply[0] != 0 || reply[1] != packet[1]|0x80 {
		t.Fatalf("%x was answered with %x", packet, reply)
	}
	result := natpmp.ResultCode(binary.BigEndian.Uint16(reply[2:]))
	want := map[natpmp.Opcode]int{natpmp.OpExternalAddress: 12, natpmp.OpMapUDP: 16, natpmp.OpMapTCP: 16}[natpmp.Opcode(packet[1])]
	switch {
	case errors.Is(err, natpmp.ErrUnsupportedVersion):
		if result != natpmp.ResultUnsupportedVersion || len(reply) != 8 {
			t.Fatalf("%x was answered with %x", packet, reply)
		}
	case errors.Is(err, natpmp.ErrUnsupportedOpcode):
		if result != natpmp.ResultUnsupportedOpcode || len(reply) != 8 && !bytes.Equal(reply[4:], packet[4:]) {
			t.Fatalf("%x was answered with %x", packet, reply)
		}
	case len(reply) != want || result > natpmp.ResultOutOfResources:
		t.Fatalf("%x was answered with %x", packet, reply)
	}
}
