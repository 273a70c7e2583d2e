package pcptest_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

var (
	gatewayAddr = netip.MustParseAddrPort("192.168.1.1:5351")
	clientAddr  = netip.MustParseAddrPort("192.168.1.2:40000")
)

// rig is a gateway on a network in memory and a socket that asks it.
type rig struct {
	*pcptest.Gateway
	conn net.Conn
}

// newRig serves a gateway in a bubble of virtual time until the test ends.
func newRig(t *testing.T, profile pcptest.Profile) rig {
	t.Helper()
	network := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	g, err := pcptest.New(profile, natpmptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := network.Listen(gatewayAddr)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := network.Dial(clientAddr, gatewayAddr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, server) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = network.Close()
	})
	return rig{Gateway: g, conn: conn}
}

// send sends a packet and returns the reply, nil for none within a second.
func (r rig) send(t *testing.T, packet []byte) []byte {
	t.Helper()
	if _, err := r.conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2*pcp.MaxPacket)
	n, err := r.conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// ask sends a request and returns the response.
func (r rig) ask(t *testing.T, req pcp.Request) pcp.Response {
	t.Helper()
	resp, err := pcp.ParseResponse(r.send(t, req.Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// request asks for a TCP mapping of port 80.
func request(change func(r *pcp.Request)) pcp.Request {
	r := pcp.Request{Opcode: pcp.OpMap, Lifetime: 600, Client: clientAddr.Addr(), Map: pcp.Map{
		Nonce: pcp.Nonce{1}, Protocol: pcp.TCP, InternalPort: 80, ExternalPort: 8080,
	}}
	if change != nil {
		change(&r)
	}
	return r
}

// verdict is what a test compares.
type verdict struct {
	Result   pcp.ResultCode
	Lifetime uint32
	Port     uint16
}

func of(r pcp.Response) verdict { return verdict{r.Result, r.Lifetime, r.Map.ExternalPort} }

// TestGateway has what each profile answers to requests in a row.
func TestGateway(t *testing.T) {
	t.Parallel()
	again := func(r *pcp.Request) { r.Map.Nonce = pcp.Nonce{2} }
	deletion := func(r *pcp.Request) { r.Lifetime, r.Map.ExternalPort = 0, 0 }
	lowly := pcptest.RFC()
	lowly.ErrorLifetime, lowly.Result = time.Minute, pcp.ResultUserExceededQuota
	stubborn := pcptest.RFC()
	stubborn.DeletionResult = pcp.ResultNoResources
	careless := pcptest.RFC()
	careless.IgnoresPreference = true
	router := pcptest.RFC()
	router.Client = netip.MustParseAddr("10.0.0.9")
	type step struct {
		change func(r *pcp.Request)
		want   verdict
	}
	for name, tt := range map[string]struct {
		profile pcptest.Profile
		steps   []step
	}{
		"rfc": {pcptest.RFC(), []step{
			{nil, verdict{0, 600, 8080}},
			{func(r *pcp.Request) { r.Map.ExternalPort = 9090 }, verdict{0, 600, 8080}},
			{func(r *pcp.Request) { r.Lifetime = 10 }, verdict{0, 120, 8080}},
			{func(r *pcp.Request) { r.Lifetime = 1 << 31 }, verdict{0, 7200, 8080}},
			{again, verdict{pcp.ResultNotAuthorized, 7200, 8080}},
			{func(r *pcp.Request) { again(r); deletion(r) }, verdict{pcp.ResultNotAuthorized, 7200, 0}},
			{deletion, verdict{}},
			{deletion, verdict{}},
			{again, verdict{0, 600, 8080}},
		}},
		"miniupnpd": {pcptest.Miniupnpd(), []step{
			{nil, verdict{0, 600, 8080}},
			{again, verdict{0, 600, 8080}},
			{deletion, verdict{pcp.ResultNotAuthorized, 600, 0}},
			{func(r *pcp.Request) { again(r); r.Map.ExternalPort = 9090 }, verdict{0, 600, 9090}},
		}},
		"short":       {pcptest.Short(30 * time.Second), []step{{nil, verdict{0, 30, 8080}}}},
		"full":        {pcptest.Full(0), []step{{nil, verdict{0, 600, 8080}}}},
		"full of one": {pcptest.Full(1), []step{{nil, verdict{0, 600, 8080}}, {func(r *pcp.Request) { r.Map.InternalPort = 81 }, verdict{pcp.ResultNoResources, 30, 8080}}}},
		"options": {pcptest.RFC(), []step{
			{func(r *pcp.Request) { r.Options.ThirdParty = netip.MustParseAddr("192.168.1.3") }, verdict{pcp.ResultUnsupportedOption, 1800, 8080}},
			{func(r *pcp.Request) { r.Options.Filtered = 1 }, verdict{pcp.ResultUnsupportedOption, 1800, 8080}},
			{nil, verdict{0, 600, 8080}},
			{func(r *pcp.Request) { r.Options.PreferFailure, r.Map.InternalPort = true, 81 }, verdict{pcp.ResultCannotProvideExternal, 30, 8080}},
			{func(r *pcp.Request) { r.Options.PreferFailure, r.Map.ExternalPort = true, 9090 }, verdict{pcp.ResultCannotProvideExternal, 30, 9090}},
			{func(r *pcp.Request) { r.Options.PreferFailure = true }, verdict{0, 600, 8080}},
		}},
		"protocols": {pcptest.RFC(), []step{
			{func(r *pcp.Request) { r.Map.Protocol = 132 }, verdict{pcp.ResultUnsupportedProtocol, 1800, 8080}},
			{func(r *pcp.Request) { r.Map.InternalPort = 0 }, verdict{pcp.ResultUnsupportedProtocol, 1800, 8080}},
			{func(r *pcp.Request) { r.Map.Protocol = pcp.UDP }, verdict{0, 600, 8080}},
		}},
		"another address": {pcptest.RFC(), []step{
			{func(r *pcp.Request) { r.Client = netip.MustParseAddr("10.0.0.9") }, verdict{pcp.ResultAddressMismatch, 1800, 8080}},
		}},
		"the router's address": {router, []step{
			{nil, verdict{pcp.ResultAddressMismatch, 1800, 8080}},
			{func(r *pcp.Request) { r.Client = netip.MustParseAddr("10.0.0.9") }, verdict{0, 600, 8080}},
		}},
		"failing, a minute": {lowly, []step{{nil, verdict{pcp.ResultUserExceededQuota, 60, 8080}}, {deletion, verdict{}}}},
		"ends nothing":      {stubborn, []step{{nil, verdict{0, 600, 8080}}, {deletion, verdict{pcp.ResultNoResources, 30, 0}}}},
		"careless": {careless, []step{
			{nil, verdict{0, 600, 8080}},
			{func(r *pcp.Request) { r.Options.PreferFailure, r.Map.ExternalPort = true, 9090 }, verdict{0, 600, 8080}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile)
				for i, step := range tt.steps {
					if diff := cmp.Diff(step.want, of(r.ask(t, request(step.change)))); diff != "" {
						t.Errorf("step %d (-want +got):\n%s", i, diff)
					}
				}
			})
		})
	}
}

// TestGatewayAddress: the epoch starts again with another address, unless it is kept, and
// without one nothing is mapped.
func TestGatewayAddress(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]pcptest.Profile{"rfc": pcptest.RFC(), "miniupnpd": pcptest.Miniupnpd()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile)
				time.Sleep(time.Hour)
				next := netip.MustParseAddr("5.6.7.9")
				r.SetAddress(next)
				resp := r.ask(t, request(nil))
				if resp.Map.ExternalAddress != next || (resp.Epoch == 0) == profile.KeepsEpoch {
					t.Errorf("%+v", resp)
				}
				r.SetAddress(netip.Addr{})
				if resp := r.ask(t, request(nil)); resp.Result != pcp.ResultNetworkFailure {
					t.Errorf("%+v", resp)
				}
				if diff := cmp.Diff(map[pcp.ResultCode]uint64{0: 1, pcp.ResultNetworkFailure: 1}, r.Results()); diff != "" {
					t.Errorf("results (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestGatewayLanguages has which version answers which.
func TestGatewayLanguages(t *testing.T) {
	t.Parallel()
	ask := request(nil)
	inPCP, inNATPMP := ask.Append(nil), natpmp.Request{}.Append(nil)
	for name, tt := range map[string]struct {
		profile                pcptest.Profile
		packet                 []byte
		version, result, bytes int
	}{
		"pcp in pcp":         {pcptest.RFC(), inPCP, 2, 0, 60},
		"nat-pmp in pcp":     {pcptest.RFC(), inNATPMP, 2, 1, 24},
		"pcp in both":        {pcptest.Miniupnpd(), inPCP, 2, 0, 60},
		"nat-pmp in both":    {pcptest.Miniupnpd(), inNATPMP, 0, 0, 12},
		"pcp in nat-pmp":     {pcptest.NATPMPOnly(), inPCP, 0, 1, 8},
		"nat-pmp in nat-pmp": {pcptest.NATPMPOnly(), inNATPMP, 0, 0, 12},
		"nat-pmp in turn":    {pcptest.Flipping(), inNATPMP, 0, 0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile)
				got := r.send(t, tt.packet)
				if len(got) != tt.bytes || int(got[0]) != tt.version || int(got[3]) != tt.result {
					t.Errorf("%x", got)
				}
			})
		})
	}
}

// TestGatewaySaysNothing to what is no request.
func TestGatewaySaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC())
		for _, packet := range [][]byte{{2}, {2, 1}, {2, 129, 0, 0}, r.Announcement()} {
			if got := r.send(t, packet); got != nil {
				t.Errorf("%x was answered: %x", packet, got)
			}
		}
		if n := r.Stats().Ignored; n != 4 {
			t.Errorf("%d ignored", n)
		}
	})
}

// TestGatewayTells of itself and of its mappings.
func TestGatewayTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pcptest.RFC())
		granted := r.ask(t, request(nil))
		time.Sleep(time.Minute)
		if got, err := pcp.ParseResponse(r.Announcement()); err != nil || got != (pcp.Response{Epoch: 60}) {
			t.Errorf("announced %+v, %v", got, err)
		}
		got, err := pcp.ParseResponse(r.Update(pcp.TCP, 8080))
		if err != nil || got.Map != granted.Map || got.Epoch != 60 {
			t.Errorf("updated %+v, %v", got, err)
		}
		if got := r.Update(pcp.UDP, 8080); got != nil {
			t.Errorf("%x tells of nothing", got)
		}
	})
}

// TestProfiles: each has a name of its own and answers, or not, without an error.
func TestProfiles(t *testing.T) {
	t.Parallel()
	names := make(map[string]int)
	for i, p := range pcptest.Profiles() {
		names[p.Name]++
		if p.Name == "" || names[p.Name] > 1 {
			t.Errorf("profile %d has the name %q", i, p.Name)
		}
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, p)
				req := request(nil)
				r.send(t, req.Append(nil))
				r.Adjust(func(p *pcptest.Profile) { p.Silent = true })
				if !r.Profile().Silent || !r.Gateway.Gateway.Profile().Silent {
					t.Error("does not heed what is changed")
				}
			})
		})
	}
}

// TestGatewayOnLoopback serves a socket of the system.
func TestGatewayOnLoopback(t *testing.T) {
	t.Parallel()
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	g, err := pcptest.New(pcptest.RFC(), natpmptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, server) }()
	c, err := pcp.NewClient(pcp.ClientConfig{
		Address: func() netip.Addr { return netip.MustParseAddr("127.0.0.1") },
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp4", server.LocalAddr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- c.Run(ctx) }()
	got, err := c.Map(t.Context(), pcp.MapRequest{Protocol: pcp.UDP, InternalPort: 6881, ExternalPort: 6881, Lifetime: 600})
	if want := (pcp.Mapping{ExternalPort: 6881, ExternalAddress: g.Address(), Lifetime: 600}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.Unmap(t.Context(), pcp.UDP, 6881); err != nil || len(g.Mappings()) != 0 {
		t.Errorf("%v, left: %+v", err, g.Mappings())
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
