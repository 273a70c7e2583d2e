//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// anHour is what most programs ask for.
const anHour = time.Hour

// mapAndReach maps a port of alice with a client and reaches her through it.
func mapAndReach(protocol string, client func(context.Context, *world) (mapping, error)) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		w.alice.serve(ctx, w.t, protocol, 8080)
		m, err := client(ctx, w)
		if err != nil {
			return err
		}
		return errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, 1))
	}
}

// withNATPMPC is natpmpc, which finds its gateway by itself.
func withNATPMPC(protocol string) func(context.Context, *world) error {
	return mapAndReach(protocol, func(ctx context.Context, w *world) (mapping, error) {
		return natpmpc(ctx, w.alice, protocol, 8080, anHour)
	})
}

// withNPM is the package nat-pmp from npm.
func withNPM(protocol string) func(context.Context, *world) error {
	return mapAndReach(protocol, func(ctx context.Context, w *world) (mapping, error) {
		return npmNATPMP(ctx, w.alice, protocol, 8080, anHour)
	})
}

// onTheLAN is natpmpc with a doublenat that is a host of the LAN: it has to be told
// the address, for a redirect to a host in the client's own network cannot work.
func onTheLAN(ctx context.Context, w *world) error {
	for i, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 8080)
		m, err := natpmpc(ctx, w.alice, protocol, 8080, anHour, "-g", w.alice.asks.String())
		if err != nil {
			return err
		}
		if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, i+1)); err != nil {
			return err
		}
	}
	return nil
}

// withGoNATPMP maps both protocols of a port, which get one external port.
func withGoNATPMP(ctx context.Context, w *world) error {
	granted := make(map[string]uint16)
	for i, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 6881)
		m, err := w.alice.request(protocol, 6881, 0, anHour)
		if err != nil {
			return err
		}
		granted[protocol] = m.external
		if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, i+1)); err != nil {
			return err
		}
	}
	if granted["tcp"] != granted["udp"] {
		return fmt.Errorf("tcp has port %d and udp has port %d", granted["tcp"], granted["udp"])
	}
	return nil
}

// deleteAll has alice give back all her TCP ports with one request (RFC 6886 §3.4).
// Her UDP port stays, and so does bob's: to the gateway both are one client, and
// miniupnpd would end everything.
func deleteAll(ctx context.Context, w *world) error {
	wanted := []struct {
		h        *host
		protocol string
		port     uint16
		stays    bool
	}{
		{w.alice, "tcp", 6881, false},
		{w.alice, "tcp", 6882, false},
		{w.alice, "udp", 6881, true},
		{w.bob, "tcp", 6881, true},
	}
	var granted []mapping
	for _, want := range wanted {
		want.h.serve(ctx, w.t, want.protocol, want.port)
		m, err := want.h.request(want.protocol, want.port, 0, anHour)
		if err != nil {
			return err
		}
		if err := w.reach(ctx, m, want.h); err != nil {
			return err
		}
		granted = append(granted, m)
	}
	if _, err := output(w.alice.command(ctx, "natpmpc", "-a", "0", "0", "tcp", "0")); err != nil {
		return err
	}
	err := w.layers(ctx, 2)
	for i, want := range wanted {
		if want.stays {
			err = errors.Join(err, w.reach(ctx, granted[i], want.h))
		} else {
			err = errors.Join(err, w.internet.unreachable(ctx, want.protocol, w.public(granted[i])))
		}
	}
	return err
}

// manyAtOnce has two programs that want many ports each, all at the same time.
func manyAtOnce(ctx context.Context, w *world) error {
	const each = 8
	hosts := []*host{w.alice, w.bob}
	granted := make([]mapping, each*len(hosts))
	errs := make([]error, len(granted))
	var asking sync.WaitGroup
	for i := range granted {
		h, protocol, port := hosts[i%len(hosts)], []string{"tcp", "udp"}[i/len(hosts)%2], uint16(7000+i/len(hosts))
		h.serve(ctx, w.t, protocol, port)
		asking.Go(func() { granted[i], errs[i] = h.request(protocol, port, port, anHour) })
	}
	asking.Wait()
	err := errors.Join(errs...)
	if err != nil {
		return err
	}
	for i, m := range granted {
		err = errors.Join(err, w.reach(ctx, m, hosts[i%len(hosts)]))
	}
	return errors.Join(err, w.layers(ctx, len(granted)))
}

// twoClientsOnePort has two hosts that both want to be reached at their port 6881.
func twoClientsOnePort(ctx context.Context, w *world) error {
	var granted []mapping
	for i, h := range []*host{w.alice, w.bob} {
		h.serve(ctx, w.t, "tcp", 6881)
		m, err := h.request("tcp", 6881, 6881, anHour)
		if err != nil {
			return err
		}
		granted = append(granted, m)
		if err := errors.Join(w.reach(ctx, m, h), w.layers(ctx, i+1)); err != nil {
			return err
		}
	}
	if err := w.alice.delete(granted[0]); err != nil {
		return err
	}
	return errors.Join(
		w.internet.unreachable(ctx, "tcp", w.public(granted[0])),
		w.reach(ctx, granted[1], w.bob),
		w.layers(ctx, 1))
}
