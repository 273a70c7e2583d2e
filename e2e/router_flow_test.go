//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// Addresses in the memory of the daemon flows. None of them is on a network.
var (
	memoryTunnel = netip.MustParseAddr("10.2.0.2")
	memoryListen = netip.MustParseAddrPort("192.0.2.1:5351")
)

// desk is doublenat with a real router, and with a gateway and a client in memory.
type desk struct {
	router  realRouter
	report  *report
	network *natpmptest.Network
	gateway netip.AddrPort
	client  *natpmp.Client
}

// daemonFlows runs doublenat against the router: it maps, renews, restarts,
// deletes and stops. It returns the tunnel interface that doublenat found.
func daemonFlows(ctx context.Context, r realRouter, rep *report) (iface string, err error) {
	// Gateway and client outlive doublenat, which takes down what it made.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	d := &desk{router: r, report: rep, network: natpmptest.NewNetwork(natpmptest.NetworkConfig{})}
	ended := make(chan error, 2)
	defer func() {
		stop()
		err = errors.Join(err, <-ended, <-ended, d.network.Close())
	}()
	if err := d.furnish(serving, ended); err != nil {
		ended <- nil
		ended <- nil
		return "", err
	}
	return d.run(ctx)
}

// furnish starts gateway and client, which report their ends.
func (d *desk) furnish(ctx context.Context, ended chan<- error) error {
	address, err := netip.ParseAddr(d.router.gateway)
	if err != nil {
		return err
	}
	d.gateway = netip.AddrPortFrom(address, 5351)
	conn, err := d.network.Listen(d.gateway)
	if err != nil {
		return err
	}
	gateway, err := natpmptest.New(natpmptest.Config{Profile: natpmptest.RFC()})
	if err != nil {
		return err
	}
	d.client, err = natpmp.NewClient(natpmp.ClientConfig{Dial: func(context.Context) (net.Conn, error) {
		return d.network.Dial(netip.AddrPortFrom(testNet(10), 0), memoryListen)
	}})
	if err != nil {
		return err
	}
	go func() { ended <- gateway.Serve(ctx, conn) }()
	go func() { ended <- d.client.Run(ctx) }()
	return nil
}

// run tells the story.
func (d *desk) run(ctx context.Context) (iface string, err error) {
	var made []map[string]string
	err = d.withDaemon(ctx, "keep", func() error {
		for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
			if err := d.mapPort(ctx, op); err != nil {
				return err
			}
		}
		if made, err = d.rules(2); err != nil {
			return err
		}
		iface = made[0]["in-interface"]
		d.report.iface = iface
		d.report.note("doublenat's rule is stored as it was sent", d.wantRule(made[0], "tcp"))
		if err := d.mapPort(ctx, natpmp.OpMapTCP); err != nil {
			return err
		}
		d.report.note("a renewal changes nothing", d.wantSame(made))
		return nil
	})
	if err != nil {
		return iface, err
	}
	d.report.note("rules stay when doublenat stops and is to keep them", d.wantSame(made))
	err = d.withDaemon(ctx, "clean", func() error {
		if err := d.mapPort(ctx, natpmp.OpMapTCP); err != nil {
			return err
		}
		d.report.note("doublenat knows its rules after a restart", d.wantSame(made))
		if err := d.client.Unmap(ctx, natpmp.OpMapTCP, 8080); err != nil {
			return err
		}
		_, err := d.rules(1)
		d.report.note("a deletion removes the rule", err)
		return nil
	})
	if err != nil {
		return iface, err
	}
	_, err = d.rules(0)
	d.report.note("a stop removes the rest", err)
	return iface, nil
}

// withDaemon runs a doublenat while f runs.
func (d *desk) withDaemon(ctx context.Context, shutdown string, f func() error) error {
	cfg, err := config.Parse(map[string]string{
		"VPN_GATEWAY":           d.router.gateway,
		"MIKROTIK_API_ADDRESS":  d.router.address,
		"MIKROTIK_API_USER":     d.router.user,
		"MIKROTIK_API_PASSWORD": d.router.password,
		"MIKROTIK_IN_INTERFACE": d.router.iface,
		"INSTANCE":              d.router.instance,
		"LISTEN_ADDR":           memoryListen.String(),
		"ALLOWED_CLIENTS":       "192.0.2.0/24",
		"SHUTDOWN":              shutdown,
	}, nil)
	if err != nil {
		return err
	}
	none := errors.New("no multicast in memory")
	doublenat, err := daemon.New(daemon.Options{Config: cfg, Logger: d.router.log, Network: daemon.Network{
		Listen: func(_ context.Context, at netip.AddrPort) (net.PacketConn, error) { return d.network.Listen(at) },
		DialGateway: func(context.Context, netip.AddrPort) (net.Conn, error) {
			return d.network.Dial(netip.AddrPortFrom(memoryTunnel, 0), d.gateway)
		},
		ListenAnnouncements: func() (net.PacketConn, error) { return nil, none },
		Announcements: func(net.PacketConn, config.Config) (natpmp.AnnouncementSender, string) {
			return nil, none.Error()
		},
	}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- doublenat.Run(ctx) }()
	err = f()
	stop()
	return errors.Join(err, <-ended)
}

// mapPort asks for the client's port 8080 until doublenat is there to answer.
func (d *desk) mapPort(ctx context.Context, op natpmp.Opcode) error {
	return eventually(ctx, 4*patience, func() error {
		_, err := d.client.Map(ctx, natpmp.MapRequest{Opcode: op, InternalPort: 8080, Lifetime: 3600})
		return err
	})
}

// rules returns the rules of ours, which should be so many.
func (d *desk) rules(want int) ([]map[string]string, error) {
	rows, err := d.report.tap.own(d.router.instance)
	if err == nil && len(rows) != want {
		err = fmt.Errorf("there are %d rules, want %d", len(rows), want)
	}
	return rows, err
}

// wantSame returns an error unless the rules are those, with the same ids.
func (d *desk) wantSame(want []map[string]string) error {
	rows, err := d.rules(len(want))
	if err == nil && !reflect.DeepEqual(rows, want) {
		err = fmt.Errorf("the rules are %v and were %v", rows, want)
	}
	return err
}

// wantRule returns an error unless the rule forwards to the client's port 8080.
func (d *desk) wantRule(row map[string]string, protocol string) error {
	inner, err := strconv.ParseUint(row["dst-port"], 10, 16)
	if err != nil || inner == 0 {
		return fmt.Errorf("dst-port is %q", row["dst-port"])
	}
	want := map[string]string{
		"chain": "dstnat", "action": "dst-nat", "protocol": protocol, "to-addresses": testNet(10).String(), "to-ports": "8080",
		"disabled": "false", "dst-port": row["dst-port"], "in-interface": orElse(d.router.iface, row["in-interface"]),
		".id": row[".id"], "comment": row["comment"],
	}
	if !reflect.DeepEqual(row, want) {
		return fmt.Errorf("the rule is %v, want %v", row, want)
	}
	return nil
}
