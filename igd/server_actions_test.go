package igd_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/igd"
)

// wanted is what a client asks for with AddPortMapping.
func wanted() pairs {
	return pairs{
		{"NewRemoteHost", ""},
		{"NewExternalPort", "20000"},
		{"NewProtocol", "TCP"},
		{"NewInternalPort", "20001"},
		{"NewInternalClient", clientAddr.Addr().String()},
		{"NewEnabled", "1"},
		{"NewPortMappingDescription", "a game"},
		{"NewLeaseDuration", "3600"},
	}
}

// named is how a client names a mapping.
func named() pairs {
	return pairs{{"NewRemoteHost", ""}, {"NewExternalPort", "20000"}, {"NewProtocol", "TCP"}}
}

// ranged is how it names several.
func ranged() pairs {
	return pairs{{"NewStartPort", "20000"}, {"NewEndPort", "20010"}, {"NewProtocol", "TCP"}, {"NewManage", "0"}}
}

// TestAddPortMapping: what becomes of what a client asks for, and with which code it is
// refused.
func TestAddPortMapping(t *testing.T) {
	t.Parallel()
	client := clientAddr.Addr()
	good := igd.Mapping{Protocol: igd.TCP, External: 20000, Client: client, Internal: 20001, Lease: time.Hour, Description: "a game"}
	changed := func(change func(*igd.Mapping)) igd.Mapping {
		m := good
		change(&m)
		return m
	}
	for name, tt := range map[string]struct {
		args map[string]string
		// v1 and v2 are the codes with the two versions, 0 for what is mapped as want says,
		// any that of AddAnyPortMapping.
		v1, v2, any igd.Code
		want        igd.Mapping
	}{
		"all as it should be":    {want: good},
		"UDP":                    {args: map[string]string{"NewProtocol": "UDP"}, want: changed(func(m *igd.Mapping) { m.Protocol = igd.UDP })},
		"lower case":             {args: map[string]string{"NewProtocol": "tcp"}, want: good},
		"no lease is cut":        {args: map[string]string{"NewLeaseDuration": "604800"}, want: changed(func(m *igd.Mapping) { m.Lease = igd.MaxLease })},
		"a longer one is":        {args: map[string]string{"NewLeaseDuration": "4294967295"}, want: changed(func(m *igd.Mapping) { m.Lease = igd.MaxLease })},
		"too long a number":      {args: map[string]string{"NewLeaseDuration": "4294967296"}, v1: 402, v2: 402, any: 402},
		"a lease of no number":   {args: map[string]string{"NewLeaseDuration": "soon"}, v1: 402, v2: 402, any: 402},
		"a negative lease":       {args: map[string]string{"NewLeaseDuration": "-1"}, v1: 402, v2: 402, any: 402},
		"no description":         {args: map[string]string{"NewPortMappingDescription": ""}, want: changed(func(m *igd.Mapping) { m.Description = "" })},
		"controls in it":         {args: map[string]string{"NewPortMappingDescription": "a\r\n\tb\u009bc"}, want: changed(func(m *igd.Mapping) { m.Description = "abc" })},
		"markup in it":           {args: map[string]string{"NewPortMappingDescription": `<a href="x">&amp;`}, want: changed(func(m *igd.Mapping) { m.Description = `<a href="x">&amp;` })},
		"a long one":             {args: map[string]string{"NewPortMappingDescription": long(200)}, want: changed(func(m *igd.Mapping) { m.Description = long(64) })},
		"too long a one":         {args: map[string]string{"NewPortMappingDescription": long(257)}, v1: 402, v2: 402, any: 402},
		"client left out":        {args: map[string]string{"NewInternalClient": ""}, want: good},
		"another client":         {args: map[string]string{"NewInternalClient": "192.168.88.11"}, v1: 606, v2: 606, any: 606},
		"a name":                 {args: map[string]string{"NewInternalClient": "console.lan"}, v1: 606, v2: 606, any: 606},
		"everybody":              {args: map[string]string{"NewInternalClient": "255.255.255.255"}, v1: 606, v2: 606, any: 606},
		"IPv6 in disguise":       {args: map[string]string{"NewInternalClient": "::ffff:192.168.88.10"}, v1: 606, v2: 606, any: 606},
		"any host said with *":   {args: map[string]string{"NewRemoteHost": "*"}, want: good},
		"one host":               {args: map[string]string{"NewRemoteHost": "5.6.7.8"}, v1: 726, v2: 726, any: 726},
		"all external ports":     {args: map[string]string{"NewExternalPort": "0"}, v1: 716, v2: 716, want: changed(func(m *igd.Mapping) { m.External = 50000 })},
		"no external port":       {args: map[string]string{"NewExternalPort": "65536"}, v1: 402, v2: 402, any: 402},
		"a word":                 {args: map[string]string{"NewExternalPort": "http"}, v1: 402, v2: 402, any: 402},
		"all internal ports":     {args: map[string]string{"NewInternalPort": "0"}, v1: 402, v2: 732, any: 732},
		"no internal port":       {args: map[string]string{"NewInternalPort": "99999"}, v1: 402, v2: 402, any: 402},
		"another protocol":       {args: map[string]string{"NewProtocol": "SCTP"}, v1: 402, v2: 402, any: 402},
		"switched off":           {args: map[string]string{"NewEnabled": "0"}, v1: 600, v2: 600, any: 600},
		"switched on by a word":  {args: map[string]string{"NewEnabled": "True"}, want: good},
		"half on":                {args: map[string]string{"NewEnabled": "2"}, v1: 402, v2: 402, any: 402},
		"an argument missing":    {args: map[string]string{"NewRemoteHost": "-"}, v1: 402, v2: 402, any: 402},
		"one too many":           {args: map[string]string{"NewColor": "red"}, v1: 402, v2: 402, any: 402},
		"another in one's place": {args: map[string]string{"NewEnabled": "-", "NewColor": "red"}, v1: 402, v2: 402, any: 402},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for _, call := range []struct {
					service, action string
					code            igd.Code
				}{{"WANIPConnection:1", "AddPortMapping", tt.v1}, {"WANIPConnection:2", "AddPortMapping", tt.v2}, {"WANIPConnection:2", "AddAnyPortMapping", tt.any}} {
					p := newPorts()
					_, ln := inMemory(t, serverConfig(p, serverAddr))
					out, code := newAsker(t, ln, clientAddr).call(call.service, call.action, wanted().with(tt.args))
					want := []igd.Mapping{tt.want}
					if call.code != 0 {
						want = nil
					}
					diff := cmp.Diff(want, p.PortMappings(igd.Arrival{}), addrs(), cmpopts.EquateEmpty())
					if code != call.code || diff != "" {
						t.Errorf("%s of %s: code %d, want %d; mapped (-want +got):\n%s", call.action, call.service, code, call.code, diff)
					}
					reserved := fmt.Sprint(tt.want.External)
					if call.action == "AddAnyPortMapping" && code == 0 && out["NewReservedPort"] != reserved {
						t.Errorf("reserved %v, want %s", out, reserved)
					}
				}
			})
		})
	}
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}

// TestLeaseOfZero: it is for ever with version 1, and a week with version 2
// (WANIPConnection:2 §2.3.16). Who asks the device of version 2 in the words of version 1 gets
// what version 1 has (UDA 1.1 §2.8).
func TestLeaseOfZero(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		_, ln := inMemory(t, serverConfig(p, serverAddr))
		a := newAsker(t, ln, clientAddr)
		for i, at := range []struct{ service, control string }{
			{"WANIPConnection:1", "WANIPConnection:1"}, {"WANIPConnection:2", "WANIPConnection:2"}, {"WANIPConnection:1", "WANIPConnection:2"},
		} {
			header, body := soapCall("urn:schemas-upnp-org:service:"+at.service, "AddPortMapping",
				wanted().with(map[string]string{"NewLeaseDuration": "0", "NewExternalPort": fmt.Sprint(30000 + i)}))
			got := a.must("POST", controlOf(at.control), body, header)
			if _, err := igd.ParseReply("AddPortMapping", got.status, got.body); err != nil {
				t.Errorf("%+v: %v", at, err)
			}
		}
		var got []time.Duration
		for _, m := range p.PortMappings(igd.Arrival{}) {
			got = append(got, m.Lease)
		}
		if diff := cmp.Diff([]time.Duration{0, igd.MaxLease, 0}, got); diff != "" {
			t.Errorf("leases (-want +got):\n%s", diff)
		}
	})
}

// TestDoubledArguments: which of them is meant nobody knows.
func TestDoubledArguments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		_, ln := inMemory(t, serverConfig(p, serverAddr))
		a := newAsker(t, ln, clientAddr)
		for name, args := range map[string]pairs{
			"one too many":            append(wanted(), [2]string{"NewEnabled", "1"}),
			"one in another's place":  append(wanted()[1:], [2]string{"NewEnabled", "1"}),
			"very many":               slices.Repeat(wanted(), 100),
			"named otherwise":         wanted().with(map[string]string{"NewEnabled": "-", "newEnabled": "1"}),
			"none":                    nil,
			"with another's argument": append(named(), [2]string{"NewLeaseDuration", "1"}),
		} {
			if _, code := a.call("WANIPConnection:1", "AddPortMapping", args); code != igd.CodeInvalidArgs || p.asked > 0 {
				t.Errorf("%s: code %d, asked %d times", name, code, p.asked)
			}
		}
	})
}

// TestVersionsOfServices: a service does what its version and those before it do, and knows no
// other service.
func TestVersionsOfServices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
		a := newAsker(t, ln, clientAddr)
		for _, tt := range []struct {
			path, service string
			code          igd.Code
		}{
			{"/igd1/WANIPConn1", "WANIPConnection:1", 0},
			{"/igd1/WANIPConn1", "WANIPConnection:2", 401},
			{"/igd1/WANIPConn1", "WANIPConnection:0", 401},
			{"/igd2/WANIPConn1", "WANIPConnection:1", 0},
			{"/igd2/WANIPConn1", "WANIPConnection:2", 0},
			{"/igd2/WANIPConn1", "WANIPConnection:3", 401},
			{"/igd2/WANIPConn1", "WANIPConnection", 401},
			{"/igd2/WANIPConn1", "WANPPPConnection:1", 401},
			{"/igd2/WANCommonIFC1", "WANIPConnection:1", 401},
		} {
			header, body := soapCall("urn:schemas-upnp-org:service:"+tt.service, "GetStatusInfo", nil)
			got := a.must("POST", tt.path, body, header)
			if _, err := igd.ParseReply("GetStatusInfo", got.status, got.body); igd.CodeOf(err) != tt.code {
				t.Errorf("%+v: %v", tt, err)
			}
		}
	})
}

// TestOtherActions: each action of each service, with its answer or its refusal.
func TestOtherActions(t *testing.T) {
	t.Parallel()
	mine := igd.Mapping{Protocol: igd.TCP, External: 20000, Client: clientAddr.Addr(), Internal: 1, Lease: 90 * time.Second, Description: "<mine>"}
	moment := igd.Mapping{Protocol: igd.UDP, External: 20002, Client: clientAddr.Addr(), Internal: 2, Lease: time.Millisecond}
	others := igd.Mapping{Protocol: igd.TCP, External: 20001, Client: netip.MustParseAddr("192.168.88.11"), Internal: 3}
	entry := map[string]string{
		"NewInternalPort": "1", "NewInternalClient": "192.168.88.10", "NewEnabled": "1", "NewPortMappingDescription": "<mine>", "NewLeaseDuration": "90",
	}
	index := func(i string) pairs { return pairs{{"NewPortMappingIndex", i}} }
	listing := ranged().with(map[string]string{"NewNumberOfPorts": "0"})
	set := func(name, value string) map[string]string { return map[string]string{name: value} }
	type row struct {
		service, action string
		args            pairs
		code            igd.Code
		want            map[string]string
	}
	both := func(r row) []row {
		first, second := r, r
		first.service, second.service = "WANIPConnection:1", "WANIPConnection:2"
		return []row{first, second}
	}
	rows := []row{
		{"Layer3Forwarding:1", "SetDefaultConnectionService", pairs{{"NewDefaultConnectionService", "x"}}, 606, nil},
		{"Layer3Forwarding:1", "GetDefaultConnectionService", pairs{{"NewDefaultConnectionService", "x"}}, 402, nil},
		{"Layer3Forwarding:1", "AddPortMapping", wanted(), 401, nil},
		{"WANCommonInterfaceConfig:1", "GetCommonLinkProperties", nil, 0, map[string]string{
			"NewWANAccessType": "Ethernet", "NewLayer1UpstreamMaxBitRate": "5000000", "NewLayer1DownstreamMaxBitRate": "50000000", "NewPhysicalLinkStatus": "Up",
		}},
		{"WANCommonInterfaceConfig:1", "GetTotalBytesSent", nil, 602, nil},
		{"WANCommonInterfaceConfig:1", "GetTotalBeans", nil, 401, nil},
		{"WANIPConnection:1", "SetConnectionType", pairs{{"NewConnectionType", "IP_Bridged"}}, 703, nil},
		{"WANIPConnection:2", "SetConnectionType", pairs{{"NewConnectionType", "IP_Bridged"}}, 731, nil},
		{"WANIPConnection:1", "AddAnyPortMapping", wanted(), 0, map[string]string{"NewReservedPort": "20002"}},
		{"WANIPConnection:1", "DeletePortMappingRange", ranged(), 401, nil},
		{"WANIPConnection:1", "GetListOfPortMappings", listing, 401, nil},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged(), 0, map[string]string{}},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged().with(set("NewProtocol", "UDP")), 0, map[string]string{}},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged().with(set("NewStartPort", "20001")), 730, nil},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged().with(set("NewStartPort", "20011")), 733, nil},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged().with(set("NewManage", "perhaps")), 402, nil},
		{"WANIPConnection:2", "DeletePortMappingRange", ranged().with(set("NewEndPort", "")), 402, nil},
		{"WANIPConnection:2", "GetListOfPortMappings", listing.with(set("NewStartPort", "20001")), 730, nil},
		{"WANIPConnection:2", "GetListOfPortMappings", listing.with(set("NewStartPort", "30000")), 733, nil},
		{"WANIPConnection:2", "GetListOfPortMappings", listing.with(set("NewNumberOfPorts", "all")), 402, nil},
	}
	for _, r := range []row{
		{action: "GetStatusInfo", want: map[string]string{"NewConnectionStatus": "Connected", "NewLastConnectionError": "ERROR_NONE", "NewUptime": "3600"}},
		{action: "GetExternalIPAddress", want: map[string]string{"NewExternalIPAddress": "5.6.7.8"}},
		{action: "GetConnectionTypeInfo", want: map[string]string{"NewConnectionType": "IP_Routed", "NewPossibleConnectionTypes": "IP_Routed"}},
		{action: "GetNATRSIPStatus", want: map[string]string{"NewRSIPAvailable": "0", "NewNATEnabled": "1"}},
		{action: "SetConnectionType", args: pairs{{"NewConnectionType", "IP_Routed"}}, want: map[string]string{}},
		{action: "RequestConnection", code: 606},
		{action: "ForceTermination", code: 606},
		{action: "RequestTermination", code: 602},
		{action: "GetAutoDisconnectTime", code: 602},
		{action: "FlyToTheMoon", code: 401},
		{action: "GetSpecificPortMappingEntry", args: named(), want: entry},
		{action: "GetSpecificPortMappingEntry", args: named().with(set("NewExternalPort", "20001")), code: 714},
		{action: "GetSpecificPortMappingEntry", args: named().with(set("NewExternalPort", "0")), code: 714},
		{action: "GetSpecificPortMappingEntry", args: named().with(set("NewProtocol", "UDP")), code: 714},
		{action: "GetSpecificPortMappingEntry", args: named().with(set("NewRemoteHost", "9.9.9.9")), code: 714},
		{action: "GetSpecificPortMappingEntry", args: named().with(set("NewProtocol", "")), code: 402},
		{action: "GetSpecificPortMappingEntry", args: named().with(map[string]string{"NewExternalPort": "20002", "NewProtocol": "UDP"}), want: map[string]string{
			"NewInternalPort": "2", "NewInternalClient": "192.168.88.10", "NewEnabled": "1", "NewPortMappingDescription": "", "NewLeaseDuration": "1",
		}},
		{action: "GetGenericPortMappingEntry", args: index("0"), want: merged(entry, map[string]string{"NewRemoteHost": "", "NewExternalPort": "20000", "NewProtocol": "TCP"})},
		{action: "GetGenericPortMappingEntry", args: index("2"), code: 713},
		{action: "GetGenericPortMappingEntry", args: index("65535"), code: 713},
		{action: "GetGenericPortMappingEntry", args: index("-1"), code: 402},
		{action: "GetGenericPortMappingEntry", args: index("65536"), code: 402},
		{action: "DeletePortMapping", args: named(), want: map[string]string{}},
		{action: "DeletePortMapping", args: named().with(set("NewExternalPort", "20001")), code: 714},
		{action: "DeletePortMapping", args: named().with(set("NewExternalPort", "0")), code: 714},
		{action: "DeletePortMapping", args: named().with(set("NewRemoteHost", "9.9.9.9")), code: 714},
		{action: "DeletePortMapping", args: named().with(set("NewExternalPort", "x")), code: 402},
	} {
		rows = append(rows, both(r)...)
	}
	for i, r := range rows {
		t.Run(fmt.Sprint(i, " ", r.action), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPorts()
				p.put(mine, others, moment)
				p.way.Upstream, p.way.Downstream = 5e6, 50e6
				_, ln := inMemory(t, serverConfig(p, serverAddr))
				out, code := newAsker(t, ln, clientAddr).call(r.service, r.action, r.args)
				if diff := cmp.Diff(r.want, out); code != r.code || diff != "" {
					t.Errorf("%s of %s %v: code %d, want %d (-want +got):\n%s", r.action, r.service, r.args, code, r.code, diff)
				}
				// Others' mappings stay, whatever one asks for.
				want := 3
				switch {
				case code == 0 && strings.HasPrefix(r.action, "Delete"):
					want = 2
				case code == 0 && strings.HasPrefix(r.action, "Add"):
					want = 4
				}
				if left := p.PortMappings(igd.Arrival{}); len(left) != want || !slices.Contains(left, others) {
					t.Errorf("left %v", left)
				}
			})
		})
	}
}

func merged(all ...map[string]string) map[string]string {
	out := make(map[string]string)
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// TestConnectionStates: clients hear what the way out is at.
func TestConnectionStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		_, ln := inMemory(t, serverConfig(p, serverAddr))
		a := newAsker(t, ln, clientAddr)
		for _, tt := range []struct {
			way                   igd.Connection
			status, link, address string
		}{
			{igd.Connection{}, "Disconnected", "Down", ""},
			{igd.Connection{Status: igd.Connecting}, "Connecting", "Initializing", ""},
			{igd.Connection{Status: igd.Connected}, "Connected", "Up", ""},
			{igd.Connection{Status: igd.Connected, Address: netip.MustParseAddr("5.6.7.9"), Uptime: -time.Second}, "Connected", "Up", "5.6.7.9"},
		} {
			p.mu.Lock()
			p.way = tt.way
			p.mu.Unlock()
			status, _ := a.call("WANIPConnection:1", "GetStatusInfo", nil)
			link, _ := a.call("WANCommonInterfaceConfig:1", "GetCommonLinkProperties", nil)
			address, _ := a.call("WANIPConnection:2", "GetExternalIPAddress", nil)
			got := []string{status["NewConnectionStatus"], link["NewPhysicalLinkStatus"], address["NewExternalIPAddress"], status["NewUptime"]}
			if diff := cmp.Diff([]string{tt.status, tt.link, tt.address, "0"}, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", tt.way, diff)
			}
		}
	})
}

// TestDefaultConnectionService: it names the device of the tree that is asked.
func TestDefaultConnectionService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
		a := newAsker(t, ln, clientAddr)
		for version, path := range map[string]string{"1": "/igd1/L3Forwarding1", "2": "/igd2/L3Forwarding1"} {
			header, body := soapCall("urn:schemas-upnp-org:service:Layer3Forwarding:1", "GetDefaultConnectionService", nil)
			got := a.must("POST", path, body, header)
			out, err := igd.ParseReply("GetDefaultConnectionService", got.status, got.body)
			want := udnOf(t, a, "/igd"+version+".xml", "WANConnectionDevice") + ":WANConnectionDevice:" + version + ",urn:upnp-org:serviceId:WANIPConn1"
			if err != nil || out["NewDefaultConnectionService"] != want {
				t.Errorf("%v, %v; want %s", out, err, want)
			}
		}
	})
}

// TestHandlersErrors: what a handler returns reaches the client with its code and text, or
// as a failure that says nothing.
func TestHandlersErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail error
		code igd.Code
	}{
		"a code":              {&igd.ActionError{Code: igd.CodeNoPortsLeft}, 728},
		"wrapped":             {fmt.Errorf("mapping: %w", &igd.ActionError{Code: igd.CodeOtherMechanism}), 729},
		"only permanent":      {&igd.ActionError{Code: igd.CodeOnlyPermanent}, 725},
		"same ports":          {&igd.ActionError{Code: igd.CodeSamePortRequired}, 724},
		"only wildcard ports": {&igd.ActionError{Code: igd.CodeOnlyWildcardPort}, 727},
		"any error":           {errors.New("secret"), 501},
		"no code":             {&igd.ActionError{}, 501},
		"the end":             {context.Canceled, 501},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPorts()
				p.fail = tt.fail
				s, ln := inMemory(t, serverConfig(p, serverAddr))
				a := newAsker(t, ln, clientAddr)
				for action, args := range map[string]pairs{"AddPortMapping": wanted(), "AddAnyPortMapping": wanted(), "DeletePortMapping": named()} {
					if _, code := a.call("WANIPConnection:2", action, args); code != tt.code {
						t.Errorf("%s: code %d, want %d", action, code, tt.code)
					}
				}
				if got := s.Stats(); got.Failures != 3 || got.Successes != 0 || got.Panics != 0 {
					t.Errorf("stats %+v", got)
				}
			})
		})
	}
}

// TestHandlersMistakes: a success for another port than the one that was asked for would be
// believed. A panic costs its own request alone.
func TestHandlersMistakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		var answered []string
		cfg := serverConfig(wrongPort{p}, serverAddr)
		cfg.Answered = func(from igd.Arrival, action string, code igd.Code) {
			answered = append(answered, fmt.Sprintf("%v %s %d", from.Client, action, code))
		}
		s, ln := inMemory(t, cfg)
		a := newAsker(t, ln, clientAddr)
		_, exact := a.call("WANIPConnection:2", "AddPortMapping", wanted())
		_, other := a.call("WANIPConnection:2", "AddAnyPortMapping", wanted())
		_, unknown := a.call("WANIPConnection:2", "Nothing", nil)
		p.before = func(context.Context) { panic("a bug") }
		_, bug := a.call("WANIPConnection:2", "DeletePortMapping", named())
		_, fine := a.call("WANIPConnection:2", "GetStatusInfo", nil)
		got := []igd.Code{exact, other, unknown, bug, fine}
		if diff := cmp.Diff([]igd.Code{718, 0, 401, 501, 0}, got); diff != "" || s.Stats().Panics != 1 {
			t.Errorf("codes (-want +got):\n%s\nstats %+v", diff, s.Stats())
		}
		want := []string{
			"192.168.88.10:40000 AddPortMapping 718", "192.168.88.10:40000 AddAnyPortMapping 0", "192.168.88.10:40000  401",
			"192.168.88.10:40000 DeletePortMapping 501", "192.168.88.10:40000 GetStatusInfo 0",
		}
		if diff := cmp.Diff(want, answered); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// wrongPort maps another port than it is asked for.
type wrongPort struct{ *ports }

func (w wrongPort) AddPortMapping(_ context.Context, _ igd.Arrival, m igd.Mapping, _ igd.Choice) (uint16, error) {
	return m.External + 1, nil
}

// holding is a handler that does not let go of a mapping.
type holding struct {
	*ports

	external uint16
}

func (h holding) DeletePortMapping(ctx context.Context, from igd.Arrival, p igd.Protocol, external uint16) error {
	if external == h.external {
		return &igd.ActionError{Code: igd.CodeNotAuthorized}
	}
	return h.ports.DeletePortMapping(ctx, from, p, external)
}

// TestRangeWithOneThatStays: a mapping that its client may not end, as the operator's, keeps none
// of the others; where there are no others the client is told.
func TestRangeWithOneThatStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		for port := uint16(20000); port < 20003; port++ {
			p.put(igd.Mapping{Protocol: igd.TCP, External: port, Client: clientAddr.Addr(), Internal: port})
		}
		_, ln := inMemory(t, serverConfig(holding{p, 20001}, serverAddr))
		a := newAsker(t, ln, clientAddr)
		for _, want := range []igd.Code{0, igd.CodeNotAuthorized} {
			if _, code := a.call("WANIPConnection:2", "DeletePortMappingRange", ranged()); code != want {
				t.Errorf("answered %v, want %v", code, want)
			}
			if left := p.PortMappings(igd.Arrival{}); len(left) != 1 || left[0].External != 20001 {
				t.Errorf("left %v", left)
			}
		}
	})
}
