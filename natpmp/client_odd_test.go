package natpmp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// oddReply is a call of OnOdd.
type oddReply struct {
	Odd      natpmp.Oddity
	Asked    uint16
	Internal uint16
}

// TestClientOddReplies: replies that cannot be right are told of, and so is who waits
// for a right one in vain.
func TestClientOddReplies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reply string
		want  natpmp.Oddity
	}{
		"cut to the low byte":         {"0082 0000 000003e8 0034 0021 0000003c", natpmp.OddCut},
		"cut to the high byte":        {"0082 0000 000003e8 0012 0043 0000003c", natpmp.OddCut},
		"low byte first":              {"0082 0000 000003e8 3412 2143 0000003c", natpmp.OddBytes},
		"swapped":                     {"0082 0000 000003e8 4321 1234 0000003c", natpmp.OddSwapped},
		"other port":                  {"0082 0000 000003e8 1233 4321 0000003c", natpmp.OddOther},
		"other protocol":              {"0081 0000 000003e8 0034 0021 0000003c", natpmp.OddNone},
		"failure":                     {"0082 0002 000003e8 0034 0000 00000000", natpmp.OddNone},
		"address":                     {"0080 0000 000003e8 05060708", natpmp.OddNone},
		"one that was asked for once": {"0082 0000 000003e8 2222 1234 0000003c", natpmp.OddNone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var heard []oddReply // by the client's reader
				g := &pipeGateway{answer: func(send func([]byte), _ []byte) { send(unhex(t, tt.reply)) }}
				c := startClient(t, g, natpmp.ClientConfig{OnOdd: func(odd natpmp.Oddity, req natpmp.Request, resp natpmp.Response) {
					heard = append(heard, oddReply{odd, req.InternalPort, resp.InternalPort})
				}})
				if err := c.Unmap(t.Context(), natpmp.OpMapTCP, 0x2222); err == nil {
					t.Error("the deletion was answered")
				}
				synctest.Wait()
				heard = nil
				err := c.Unmap(t.Context(), natpmp.OpMapTCP, 0x1234)
				var timeout *natpmp.TimeoutError
				if !errors.As(err, &timeout) || timeout.Odd != tt.want {
					t.Errorf("error %v, want one for the reason that the gateway %v", err, tt.want)
				}
				synctest.Wait()
				if tt.want == natpmp.OddNone {
					if heard != nil || c.Stats().Odd != 0 && timeout.Odd != natpmp.OddNone {
						t.Errorf("told of %+v", heard)
					}
					return
				}
				if len(heard) != 3 || heard[0].Odd != tt.want || heard[0].Asked != 0x1234 {
					t.Errorf("told of %+v, want of each of three replies that the gateway %v", heard, tt.want)
				}
			})
		})
	}
}

// TestClientCutExternalPort: the right internal port beside an external one that is cut.
func TestClientCutExternalPort(t *testing.T) {
	t.Parallel()
	for external, want := range map[string][]oddReply{
		"0021": {{natpmp.OddCut, 0x1234, 0x1234}},
		"0022": nil,
		"4321": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			var heard []oddReply
			g := &pipeGateway{answer: func(send func([]byte), _ []byte) {
				send(unhex(t, "0082 0000 000003e8 1234"+external+"0000003c"))
			}}
			c := startClient(t, g, natpmp.ClientConfig{OnOdd: func(odd natpmp.Oddity, req natpmp.Request, resp natpmp.Response) {
				heard = append(heard, oddReply{odd, req.InternalPort, resp.InternalPort})
			}})
			req := mapTCP()
			req.SuggestedExternalPort = 0x4321
			if _, err := c.Map(t.Context(), req); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if diff := cmp.Diff(want, heard); diff != "" {
				t.Errorf("port %s: told of (-want +got):\n%s", external, diff)
			}
		})
	}
}

// TestClientMeetsPCPOnly: a PCP server that has no NAT-PMP says so in its own version,
// in the long form of RFC 6887 §7.2 or in a short one.
func TestClientMeetsPCPOnly(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"PCP":             "0282 0001 00000708 00000003 000000000000000000000000",
		"short":           "0280 0001",
		"another version": "0382 0001 00000708",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				packets := 0
				g := &pipeGateway{answer: func(send func([]byte), _ []byte) { send(unhex(t, reply)) }}
				c := startClient(t, g, natpmp.ClientConfig{OnPacket: func(natpmp.Response, time.Time) { packets++ }})
				_, err := c.Map(t.Context(), mapTCP())
				want := natpmp.ResultError{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultUnsupportedVersion, Version: unhex(t, reply)[0]}
				var got *natpmp.ResultError
				if !errors.As(err, &got) || *got != want {
					t.Errorf("error %v, want %v", err, &want)
				}
				synctest.Wait()
				if n := len(g.sightings()); n != 1 || packets != 0 {
					t.Errorf("%d packets, %d replies whose epoch was believed", n, packets)
				}
			})
		})
	}
	for _, reply := range []string{"0202 0001", "0282 0000 00000000", "0282 0003 00000000", "028200", ""} {
		synctest.Test(t, func(t *testing.T) {
			g := &pipeGateway{answer: func(send func([]byte), _ []byte) { send(unhex(t, reply)) }}
			c := startClient(t, g, natpmp.ClientConfig{})
			var got *natpmp.TimeoutError
			if err := c.Unmap(t.Context(), natpmp.OpMapTCP, 1000); !errors.As(err, &got) {
				t.Errorf("reply %q: error %v", reply, err)
			}
		})
	}
}
