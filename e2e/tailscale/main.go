// Command tailscale maps a UDP port as Tailscale does, with the code of its own portmapper:
// by PCP and UPnP, and by NAT-PMP only if told so. It prints the external address and port,
// keeps the mapping until its input ends, and gives it back.
//
//	tailscale PORT pcp|upnp|natpmp
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"tailscale.com/net/netmon"
	"tailscale.com/net/portmapper"
	"tailscale.com/util/eventbus"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("want a port and a protocol")
	}
	port, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return err
	}
	not := func(way string) func() bool { return func() bool { return way != args[1] } }
	bus := eventbus.New()
	defer bus.Close()
	c := portmapper.NewClient(portmapper.Config{
		EventBus: bus, Logf: log.Printf, NetMon: netmon.NewStatic(),
		DebugKnobs: &portmapper.DebugKnobs{VerboseLogs: true, DisableUPnPFunc: not("upnp"), DisablePMPFunc: not("natpmp"), DisablePCPFunc: not("pcp")},
	})
	defer c.Close()
	c.SetLocalPort(uint16(port))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// A gateway with few ports shows Tailscale a device that can tell of another port once it was
	// refused the one that it drew. It searches again after ten minutes, or when its network was
	// down.
	for ; ctx.Err() == nil; c.NoteNetworkDown() {
		found, err := c.Probe(ctx)
		if err != nil {
			return fmt.Errorf("probing: %w", err)
		}
		log.Printf("found %+v", found)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if external, ok := c.GetCachedMappingOrStartCreatingOne(); ok {
				fmt.Println(external)
				_, err := io.Copy(io.Discard, os.Stdin) // until the bytes have come
				return err
			}
		}
	}
	return errors.New("no mapping in time")
}
