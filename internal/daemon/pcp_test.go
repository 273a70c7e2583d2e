package daemon_test

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/routeros/routerostest"
)

// speaksPCP is a bench on which PCP is answered.
func speaksPCP(environ map[string]string) lab.BenchConfig {
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Environ: map[string]string{"PCP": "on"}}
	maps.Copy(cfg.Environ, environ)
	return cfg
}

// exchange sends a packet and returns the reply, nil for silence of ten seconds. The server
// is the router's address, from which requests are redirected.
func (r *rig) exchange(client netip.Addr, packet []byte) []byte {
	r.t.Helper()
	conn, err := r.Net.Dial(netip.AddrPortFrom(client, 0), netip.MustParseAddrPort(routerostest.LANAddress+":5351"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		r.t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	reply := make([]byte, pcp.MaxPacket)
	n, err := conn.Read(reply)
	if err != nil {
		return nil
	}
	return reply[:n]
}

// askPCP sends a request of PCP and returns the response.
func (r *rig) askPCP(client netip.Addr, req pcp.Request) pcp.Response {
	r.t.Helper()
	resp, err := pcp.ParseResponse(r.exchange(client, req.Append(nil)))
	if err != nil {
		r.t.Fatalf("%v asks %+v: %v", client, req, err)
	}
	return resp
}

// mapPCP is a request for an hour of alice's TCP port.
func mapPCP(port uint16, nonce byte) pcp.Request {
	return pcp.Request{
		Opcode: pcp.OpMap, Lifetime: 3600, Client: alice,
		Map: pcp.Map{Nonce: pcp.Nonce{nonce}, Protocol: pcp.TCP, InternalPort: port, ExternalAddress: netip.IPv4Unspecified()},
	}
}

// One mapping may be made by one protocol, renewed by the other, and ended by the first: it
// has one rule and one lease.
func TestOneMappingByBothProtocols(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(nil), func(r *rig) {
		made := r.askPCP(alice, mapPCP(6881, 1))
		public := r.send(alice, natpmp.Request{}).Address
		if made.Result != 0 || made.Map.ExternalPort == 0 || made.Map.ExternalAddress != public || made.Lifetime == 0 || made.Map.Nonce != (pcp.Nonce{1}) {
			r.t.Fatalf("made: %+v", made)
		}
		mark := r.Router.Mark()
		time.Sleep(40 * time.Second)
		renewed := r.ask(alice, natpmp.OpMapTCP, 6881, made.Map.ExternalPort)
		if renewed.Result != 0 || renewed.ExternalPort != made.Map.ExternalPort {
			r.t.Errorf("renewed by NAT-PMP: %+v", renewed)
		}
		time.Sleep(40 * time.Second)
		if again := r.askPCP(alice, mapPCP(6881, 2)); again.Result != 0 || again.Map.ExternalPort != made.Map.ExternalPort {
			r.t.Errorf("renewed by PCP with another nonce: %+v", again)
		}
		if wrote := r.Router.StatsSince(mark).Writes; wrote != 0 {
			r.t.Errorf("renewals cost the router %d writes", wrote)
		}
		if n := len(r.OurRules("default")); n != 1 {
			r.t.Errorf("%d rules", n)
		}
		ends := mapPCP(6881, 1)
		ends.Lifetime = 0
		if got := r.askPCP(alice, ends); got.Result != pcp.ResultNotAuthorized || got.Lifetime == 0 || got.Lifetime > 3600 {
			r.t.Errorf("ended with a nonce that it has no more: %+v", got)
		}
		if got := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881}); got.Result != 0 {
			r.t.Errorf("ended by NAT-PMP: %+v", got)
		}
		r.empty()
	})
}

// Who insists on a port that the gateway does not grant leaves nothing on either layer, and
// the router never hears of it.
func TestPreferFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	cfg := speaksPCP(nil)
	cfg.Profile = natpmptest.Proton()
	onBench(t, cfg, func(r *rig) {
		mark := r.Router.Mark()
		req := mapPCP(6881, 1)
		req.Map.ExternalPort, req.Options.PreferFailure = 6881, true
		if got := r.askPCP(alice, req); got.Result != pcp.ResultCannotProvideExternal || got.Map.ExternalPort != 6881 {
			r.t.Errorf("%+v", got)
		}
		if wrote := r.Router.StatsSince(mark).Writes; wrote != 0 {
			r.t.Errorf("%d writes", wrote)
		}
		time.Sleep(5 * time.Second)
		r.empty()
	})
}

// Each request that PCP lets nobody serve has its code, and costs neither layer anything.
func TestPCPRefusals(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(map[string]string{"DENIED_PORTS": "22", "MAX_MAPPINGS_PER_CLIENT": "1"}), func(r *rig) {
		if got := r.askPCP(alice, mapPCP(80, 1)); got.Result != 0 {
			r.t.Fatalf("%+v", got)
		}
		mark, asked := r.Router.Mark(), r.requests()
		for name, tt := range map[string]struct {
			change func(*pcp.Request)
			want   pcp.ResultCode
			lasts  uint32
		}{
			"another address":  {func(q *pcp.Request) { q.Client = bob }, pcp.ResultAddressMismatch, 1800},
			"for another host": {func(q *pcp.Request) { q.Options.ThirdParty = bob }, pcp.ResultUnsupportedOption, 1800},
			"for itself":       {func(q *pcp.Request) { q.Options.ThirdParty = alice }, pcp.ResultMalformedRequest, 1800},
			"all protocols":    {func(q *pcp.Request) { q.Map.Protocol, q.Map.InternalPort = 0, 0 }, pcp.ResultUnsupportedProtocol, 1800},
			"all ports":        {func(q *pcp.Request) { q.Map.InternalPort = 0 }, pcp.ResultUnsupportedProtocol, 1800},
			"no such protocol": {func(q *pcp.Request) { q.Map.Protocol = 132 }, pcp.ResultUnsupportedProtocol, 1800},
			"peer":             {func(q *pcp.Request) { q.Opcode = pcp.OpPeer }, pcp.ResultUnsupportedOpcode, 1800},
			"denied port":      {func(q *pcp.Request) { q.Map.InternalPort = 22 }, pcp.ResultNotAuthorized, 1800},
			"client's limit":   {func(q *pcp.Request) { q.Map.InternalPort = 81 }, pcp.ResultUserExceededQuota, 30},
		} {
			req := mapPCP(80, 1)
			tt.change(&req)
			got, err := pcp.ParseResponse(r.exchange(alice, req.Append(nil)))
			if err != nil || got.Result != tt.want || got.Lifetime != tt.lasts {
				r.t.Errorf("%s: %+v, %v, want %v for %d s", name, got, err, tt.want, tt.lasts)
			}
		}
		if did := r.commands(mark); len(did) > 0 || r.requests() != asked {
			r.t.Errorf("refusals cost the router %v and the gateway %d packets", did, r.requests()-asked)
		}
		if _, stats := r.Daemon().PacketStats(); stats.Mismatches != 1 {
			r.t.Errorf("%d mismatches", stats.Mismatches)
		}
	})
}

// Versions have their answers: of PCP that of RFC 6887 §9, and of NAT-PMP always its own. With
// PCP off all is as if it did not exist.
func TestVersionsOnOneSocket(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"off", "on"} {
		onBench(t, speaksPCP(map[string]string{"PCP": mode}), func(r *rig) {
			announce := (&pcp.Request{Opcode: pcp.OpAnnounce, Client: alice}).Append(nil)
			for version := range byte(4) {
				packet := append([]byte{version}, announce[1:]...)
				reply := r.exchange(alice, packet)
				size, result, spoken := 24, byte(pcp.ResultUnsupportedVersion), byte(2)
				switch {
				case version == 0:
					size, result, spoken = 12, 0, 0
				case mode == "off":
					size, result, spoken = 8, byte(natpmp.ResultUnsupportedVersion), 0
				case version == 2:
					result = 0
				}
				if len(reply) != size || reply[0] != spoken || reply[1]&128 == 0 || reply[3] != result {
					r.t.Errorf("PCP %s, version %d: %x", mode, version, reply)
				}
			}
		})
	}
}

// The epochs of both protocols are one, and a change of the public address begins it anew.
func TestEpochOfBothProtocols(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(nil), func(r *rig) {
		time.Sleep(time.Hour)
		epochs := func() (uint32, uint32) {
			old, young := r.send(alice, natpmp.Request{}), r.askPCP(alice, pcp.Request{Opcode: pcp.OpAnnounce, Client: alice})
			return old.Epoch, young.Epoch
		}
		if old, young := epochs(); old != young || young < 3600 {
			r.t.Errorf("%d and %d", old, young)
		}
		r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.99"))
		time.Sleep(30 * time.Second)
		if old, young := epochs(); old != young || young > 30 {
			r.t.Errorf("with another address: %d and %d", old, young)
		}
	})
}

// A client of PCP hears of another port without asking, from the address that it asks: three
// times, and no more when it has asked again. One of NAT-PMP cannot be told so.
func TestMappingUpdate(t *testing.T) {
	t.Parallel()
	cfg := speaksPCP(map[string]string{"LEASE_POLICY": "hold"})
	cfg.Profile.Lifetime = time.Minute
	onBench(t, cfg, func(r *rig) {
		conn, err := r.Net.Dial(netip.AddrPortFrom(alice, 40000), netip.MustParseAddrPort(routerostest.LANAddress+":5351"))
		if err != nil {
			r.t.Fatal(err)
		}
		defer conn.Close()
		read := func(wait time.Duration) (got []pcp.Response) {
			r.t.Helper()
			if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
				r.t.Fatal(err)
			}
			for packet := make([]byte, pcp.MaxPacket); ; {
				n, err := conn.Read(packet)
				if err != nil {
					return got
				}
				resp, err := pcp.ParseResponse(packet[:n])
				if err != nil {
					r.t.Errorf("%x: %v", packet[:n], err)
				}
				got = append(got, resp)
			}
		}
		ask := mapPCP(6881, 5)
		write := func() {
			if _, err := conn.Write(ask.Append(nil)); err != nil {
				r.t.Fatal(err)
			}
		}
		write()
		first := read(2 * time.Second)
		if len(first) != 1 || first[0].Result != 0 {
			r.t.Fatalf("asked: %+v", first)
		}
		r.Gateway.MovePorts()
		told := read(2 * time.Minute)
		if len(told) != 3 {
			r.t.Fatalf("told %d times: %+v", len(told), told)
		}
		for _, got := range told {
			if got.Result != 0 || got.Map.Nonce != (pcp.Nonce{5}) || got.Map.InternalPort != 6881 || got.Map.ExternalPort == first[0].Map.ExternalPort ||
				got.Map.ExternalAddress != first[0].Map.ExternalAddress || got.Lifetime == 0 || got.Lifetime > 3600 {
				r.t.Errorf("told %+v", got)
			}
		}
		if _, stats := r.Daemon().PacketStats(); stats.Updates != 3 {
			r.t.Errorf("%d counted", stats.Updates)
		}

		write()
		if got := read(time.Second); len(got) != 1 || got[0].Map.ExternalPort != told[0].Map.ExternalPort {
			r.t.Errorf("asked again: %+v", got)
		}
		r.Gateway.MovePorts()
		for n := 0; n == 0; { // until the first copy comes
			n = len(read(100 * time.Millisecond))
		}
		write()
		if got := read(10 * time.Second); len(got) != 1 {
			r.t.Errorf("after it asked: %+v", got)
		}
	})
}

// What the operator wrote down PCP may ask for and not end, whatever its nonce.
func TestStaticByPCP(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(staticMappings), func(r *rig) {
		got := r.askPCP(alice, mapPCP(51413, 1))
		if got.Result != 0 || got.Map.ExternalPort == 0 || got.Lifetime != 3600 {
			r.t.Errorf("asked: %+v", got)
		}
		rules := len(r.OurRules("default"))
		ends := mapPCP(51413, 1)
		ends.Lifetime = 0
		if got := r.askPCP(alice, ends); got.Result != pcp.ResultNotAuthorized {
			r.t.Errorf("ended: %+v", got)
		}
		if n := len(r.OurRules("default")); n != rules {
			r.t.Errorf("%d rules, before %d", n, rules)
		}
		r.agree()
	})
}

// Each announcement of NAT-PMP has its twin in PCP, with the same epoch; without PCP there is
// none.
func TestAnnouncedInBothProtocols(t *testing.T) {
	t.Parallel()
	for mode, twins := range map[string]int{"on": 10, "off": 0} {
		cfg, heard := announcing(speaksPCP(map[string]string{"PCP": mode}))
		onBench(t, cfg, func(r *rig) {
			time.Sleep(time.Hour)
			heard.take()
			r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.9"))
			time.Sleep(time.Hour)
			old, young := 0, 0
			for _, a := range heard.take() {
				switch packet := strings.ReplaceAll(a.Packet, " ", ""); {
				case strings.HasPrefix(packet, "00800000"):
					old++
				case strings.HasPrefix(packet, "0280000000000000") && len(packet) == 48:
					young++
				default:
					r.t.Errorf("announced %q", a.Packet)
				}
			}
			if old != 10 || young != twins {
				r.t.Errorf("PCP %s: %d announcements of NAT-PMP, %d of PCP", mode, old, young)
			}
		})
	}
}
