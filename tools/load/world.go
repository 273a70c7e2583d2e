package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// Where everybody is. Ports are chosen by the system.
const (
	gatewayHost = "127.78.2.1"
	tunnelHost  = "127.78.2.2"
	routerHost  = "127.78.0.1"
	ourHost     = "127.78.0.2"
)

// hosts is how many clients the LAN has.
const hosts = 256

// world is doublenat between a gateway and a router of this process.
type world struct {
	gateway *natpmptest.Gateway
	router  *routerostest.Router
	daemon  *program
	server  netip.AddrPort
	hosts   []*host
	end     func()
}

// settings is what differs between worlds.
type settings struct {
	binary string
	log    io.Writer
	// foreign is how many rules of others the router has.
	foreign int
	// profiling lets the daemon serve profiles, which costs a little memory.
	profiling bool
	// profiles is the folder for those of each row, "" for none.
	profiles string
}

// newWorld starts everything and waits until doublenat is ready.
func newWorld(ctx context.Context, s settings) (w *world, err error) {
	ctx, cancel := context.WithCancel(ctx)
	w = new(world)
	var parts sync.WaitGroup
	w.end = func() {
		if w.daemon != nil {
			w.daemon.stop()
		}
		for _, h := range w.hosts {
			_ = h.conn.Close()
		}
		cancel()
		parts.Wait()
	}
	defer func() {
		if err != nil {
			w.end()
		}
	}()
	if w.gateway, err = natpmptest.New(natpmptest.Config{}); err != nil {
		return nil, err
	}
	packets, err := net.ListenPacket("udp4", gatewayHost+":0") //nolint:noctx // a socket on loopback is opened at once
	if err != nil {
		return nil, err
	}
	parts.Go(func() { _ = w.gateway.Serve(ctx, packets); _ = packets.Close() })
	if w.router, err = newRouter(s.foreign); err != nil {
		return nil, err
	}
	api, err := net.Listen("tcp4", routerHost+":0") //nolint:noctx // as above
	if err != nil {
		return nil, err
	}
	parts.Go(func() { _ = w.router.Serve(ctx, api); _ = w.router.Close() })
	if err := w.startDaemon(ctx, s, packets.LocalAddr().String(), api.Addr().String()); err != nil {
		return nil, err
	}
	for n := range hosts {
		h, err := newHost(n, w.server)
		if err != nil {
			return nil, err
		}
		w.hosts = append(w.hosts, h)
	}
	return w, nil
}

// newRouter makes a router with a tunnel to the gateway and rules of others.
func newRouter(foreign int) (*routerostest.Router, error) {
	r, err := routerostest.New(routerostest.Config{})
	if err != nil {
		return nil, err
	}
	route, hasRoute := r.Find("/ip/route", "dst-address", routerostest.GatewayAddress+"/32")
	address, hasAddress := r.Find("/ip/address", "interface", routerostest.TunnelInterface)
	if !hasRoute || !hasAddress {
		return nil, errors.New("the test router has no tunnel")
	}
	err = errors.Join(
		r.Set("/ip/route", route[".id"], routerostest.Row{"dst-address": gatewayHost + "/32"}),
		r.Set("/ip/address", address[".id"], routerostest.Row{"address": tunnelHost + "/32", "network": tunnelHost}),
	)
	for n := range foreign {
		_, addErr := r.Add("/ip/firewall/nat", routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": strconv.Itoa(1024 + n%20000),
			"in-interface": routerostest.WANInterface, "to-addresses": fmt.Sprintf("192.168.88.%d", 2+n%250),
			"to-ports": strconv.Itoa(1024 + n), "comment": "forwarding of somebody else " + strconv.Itoa(n),
		})
		err = errors.Join(err, addErr)
	}
	return r, err
}

// startDaemon starts the binary and waits until it is ready.
func (w *world) startDaemon(ctx context.Context, s settings, gateway, router string) error {
	listen, err := freePort("udp4")
	if err != nil {
		return err
	}
	page, err := freePort("tcp4")
	if err != nil {
		return err
	}
	environ := []string{
		"VPN_GATEWAY=" + gateway,
		"MIKROTIK_API_ADDRESS=" + router,
		"MIKROTIK_API_USER=" + routerostest.LeastUser,
		"MIKROTIK_API_PASSWORD=" + routerostest.LeastPassword,
		"LISTEN_ADDR=" + listen, "HTTP_ADDR=" + page,
		"INSTANCE=load", "ANNOUNCE=off", "SHUTDOWN=keep", "MAX_LIFETIME=2h",
		"CLIENT_RATE=0", "NEW_CLIENT_RATE=0", "CREATE_RATE=0", "MAX_MAPPINGS=16384", "MAX_MAPPINGS_PER_CLIENT=16384",
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG", "GOMAXPROCS", "GATEWAY_WINDOW", "LEASE_POLICY", "LOG_LEVEL"} {
		if value, ok := os.LookupEnv(name); ok { //nolint:forbidigo // a program of its own
			environ = append(environ, name+"="+value)
		}
	}
	profiles := ""
	if s.profiling {
		if profiles, err = freePort("tcp4"); err != nil {
			return err
		}
		environ = append(environ, "PPROF_ADDR="+profiles)
	}
	if w.daemon, err = start(ctx, s.log, environ, s.binary, "serve"); err != nil {
		return err
	}
	w.daemon.profiles = profiles
	w.server = netip.MustParseAddrPort(listen)
	return await(ctx, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+page+"/readyz")
		return err
	})
}

// freePort returns an address that nobody listens at. Its port is below those that the system
// hands out by itself: else one of the many sockets here may have it before it is listened at.
func freePort(network string) (string, error) {
	host := ourHost
	if network != "udp4" {
		host = "127.0.0.1"
	}
	var err error
	for range 100 {
		at := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(10_000+rand.IntN(20_000))).String() //nolint:gosec // below 30,000, and no secret
		var socket io.Closer
		if network == "udp4" {
			socket, err = net.ListenPacket(network, at) //nolint:noctx // as in newWorld
		} else {
			socket, err = net.Listen(network, at) //nolint:noctx // as in newWorld
		}
		if err == nil {
			return at, socket.Close()
		}
	}
	return "", err
}

// delay makes gateway and router answer that much later from now on.
func (w *world) delay(d delays) {
	w.gateway.Adjust(func(p *natpmptest.Profile) { p.ReplyDelay = d.gateway })
	for _, command := range []string{"add", "set", "remove", "print"} {
		w.router.SetLatency("/ip/firewall/nat/"+command, d.router)
	}
}

// delays is how late gateway and router answer.
type delays struct{ gateway, router time.Duration }

// String returns both as the table has them.
func (d delays) String() string {
	return fmt.Sprintf("%d + %d ms", d.gateway.Milliseconds(), d.router.Milliseconds())
}

// traffic is what doublenat asked of others so far.
type traffic struct{ packets, commands uint64 }

// traffic counts the packets at the gateway, and the router's commands.
func (w *world) traffic() (t traffic) {
	for _, n := range w.gateway.Stats().Requests {
		t.packets += n
	}
	t.commands = w.router.Stats().Commands
	return t
}

// fill makes mappings until there are so many, spread over all hosts.
func (w *world) fill(ctx context.Context, mappings int) error {
	w.delay(delays{})
	failures := make([]error, len(w.hosts))
	var all sync.WaitGroup
	for n, h := range w.hosts {
		want := mappings / hosts
		if n < mappings%hosts {
			want++
		}
		all.Go(func() {
			for len(h.keys) < want && failures[n] == nil {
				k := nthKey(len(h.keys))
				failures[n] = h.mapPort(ctx, k)
				h.keys = append(h.keys, k)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// nthKey is the n-th mapping of a host: TCP and UDP of each port.
func nthKey(n int) key {
	opcode := natpmp.OpMapTCP
	if n%2 == 1 {
		opcode = natpmp.OpMapUDP
	}
	return key{opcode: opcode, port: uint16(20000 + n/2)} //nolint:gosec // there are thousands at most
}
