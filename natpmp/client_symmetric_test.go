package natpmp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// symmetricUDP is a wish that a symmetric request must not pass on.
func symmetricUDP() natpmp.MapRequest {
	return natpmp.MapRequest{Opcode: natpmp.OpMapUDP, SuggestedExternalPort: 0x5678, Lifetime: 60, Symmetric: true}
}

// TestClientSymmetric: the request is always (0, 1, lifetime), and only a reply with
// internal port 0 answers it, be it a success or a failure.
func TestClientSymmetric(t *testing.T) {
	t.Parallel()
	const request = "0001" + "0000" + "0000" + "0001" + "0000003c"
	success := natpmp.Response{Opcode: natpmp.OpMapUDP, ExternalPort: 0x9abc, Lifetime: 60}
	for name, tt := range map[string]struct {
		replies []natpmp.Response
		want    natpmp.Mapping
		result  natpmp.ResultCode
	}{
		"granted": {replies: []natpmp.Response{success}, want: natpmp.Mapping{ExternalPort: 0x9abc, Lifetime: 60}},
		"after what was meant for others": {
			replies: []natpmp.Response{
				{Opcode: natpmp.OpMapUDP, InternalPort: 0x1234, ExternalPort: 0x1111, Lifetime: 60},
				{Opcode: natpmp.OpMapTCP, ExternalPort: 0x2222, Lifetime: 60},
				{Opcode: natpmp.OpMapUDP}, // a deletion's
				{Opcode: natpmp.OpMapUDP, Result: natpmp.ResultNotAuthorized, InternalPort: 0x1234},
				success,
			},
			want: natpmp.Mapping{ExternalPort: 0x9abc, Lifetime: 60},
		},
		"refused": {
			replies: []natpmp.Response{{Opcode: natpmp.OpMapUDP, Result: natpmp.ResultNotAuthorized}},
			result:  natpmp.ResultNotAuthorized,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{answer: func(send func([]byte), _ []byte) {
					for _, r := range tt.replies {
						send(r.Append(nil))
					}
				}}
				c := startClient(t, g, natpmp.ClientConfig{})
				got, err := c.Map(t.Context(), symmetricUDP())
				var failure *natpmp.ResultError
				if errors.As(err, &failure) != (tt.result != 0) || failure != nil && failure.Result != tt.result || got != tt.want {
					t.Errorf("got %+v, %v; want %+v, result %v", got, err, tt.want, tt.result)
				}
				if diff := cmp.Diff([]sighting{{Packet: request}}, g.sightings()); diff != "" {
					t.Errorf("packets (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestClientSymmetricOneAtATime: two requests with internal port 0 could not be told
// apart, so the second waits for the first.
func TestClientSymmetricOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: func(send func([]byte), _ []byte) {
			time.Sleep(100 * time.Millisecond)
			send(natpmp.Response{Opcode: natpmp.OpMapUDP, ExternalPort: 40000, Lifetime: 60}.Append(nil))
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := c.Map(t.Context(), symmetricUDP())
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		seen := g.sightings()
		if len(seen) != 2 || seen[1].At-seen[0].At < 100*time.Millisecond {
			t.Errorf("packets %v, want one after the other's answer", seen)
		}
	})
}
