package natpmp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

func TestClientResultErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, reply string
		want        natpmp.ResultError
	}{
		{name: "refused by policy", reply: "0082 0002 00000001 1234 0000 00000000", want: natpmp.ResultError{Opcode: 2, Result: 2}},
		{name: "network failure", reply: "0082 0003 00000001 1234 0000 00000000", want: natpmp.ResultError{Opcode: 2, Result: 3}},
		{name: "out of resources", reply: "0082 0004 00000001 1234 5678 00000e10", want: natpmp.ResultError{Opcode: 2, Result: 4}},
		{name: "unknown code", reply: "0082 004d 00000001 1234 0000 00000000", want: natpmp.ResultError{Opcode: 2, Result: 77}},
		{name: "eight bytes", reply: "0082 0002 00000001", want: natpmp.ResultError{Opcode: 2, Result: 2}},
		{name: "unsupported opcode", reply: "0082 0005 00000001", want: natpmp.ResultError{Opcode: 2, Result: 5}},
		{name: "version error", reply: "0080 0001 00000001", want: natpmp.ResultError{Opcode: 2, Result: 1}},
		{name: "version error before the erratum", reply: "0000 0001 00000001", want: natpmp.ResultError{Opcode: 2, Result: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{answer: func(send func([]byte), _ []byte) { send(unhex(t, tt.reply)) }}
				c := startClient(t, g, natpmp.ClientConfig{})
				_, err := c.Map(t.Context(), mapTCP())
				var got *natpmp.ResultError
				if !errors.As(err, &got) || *got != tt.want {
					t.Errorf("error = %v, want %v", err, &tt.want)
				}
				if len(g.sightings()) != 1 {
					t.Errorf("%d packets: a result is final for its request", len(g.sightings()))
				}
			})
		})
	}
}

// TestClientShortFailureGoesToTheOldest: eight bytes do not say which port.
func TestClientShortFailureGoesToTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c := startClient(t, g, natpmp.ClientConfig{})
		type ended struct {
			Port uint16
			At   time.Duration
			OK   bool
		}
		results := make(chan ended, 3)
		for _, port := range []uint16{10, 11, 12} {
			go func() {
				_, err := c.Map(t.Context(), natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: 60})
				results <- ended{Port: port, At: time.Since(g.start), OK: err == nil}
			}()
			time.Sleep(10 * time.Millisecond)
		}
		g.send(unhex(t, "0081 0004 00000001")) // for UDP, which nobody asked for
		g.send(unhex(t, "0082 0004 00000001"))
		time.Sleep(10 * time.Millisecond)
		g.send(unhex(t, "0082 0000 00000001 000c 000c 0000003c"))
		time.Sleep(10 * time.Millisecond)
		g.send(unhex(t, "0082 0004 00000001"))
		want := []ended{
			{Port: 10, At: 30 * time.Millisecond},
			{Port: 12, At: 40 * time.Millisecond, OK: true},
			{Port: 11, At: 50 * time.Millisecond},
		}
		if diff := cmp.Diff(want, []ended{<-results, <-results, <-results}); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{err: &natpmp.ResultError{Opcode: 2, Result: 4}, want: []string{"tcp", "out of resources"}},
		{err: &natpmp.RefusedError{Tries: 1}, want: []string{"refused", "try 1"}},
		{err: &natpmp.TimeoutError{Tries: 3, Err: context.DeadlineExceeded}, want: []string{"3 tries", "deadline"}},
		{err: &natpmp.TimeoutError{Err: context.Canceled, Send: errNoRoute}, want: []string{"0 tries", "canceled", "no route"}},
	} {
		for _, part := range tt.want {
			if !strings.Contains(tt.err.Error(), part) {
				t.Errorf("%q does not say %q", tt.err, part)
			}
		}
	}
}
