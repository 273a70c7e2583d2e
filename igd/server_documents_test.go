package igd_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
)

// shownDevice is a device of a description, as package xml reads it: with namespaces, and
// strictly.
type shownDevice struct {
	Type     string `xml:"deviceType"`
	Name     string `xml:"friendlyName"`
	UDN      string `xml:"UDN"`
	Services []struct {
		Type    string `xml:"serviceType"`
		ID      string `xml:"serviceId"`
		SCPD    string `xml:"SCPDURL"`
		Control string `xml:"controlURL"`
		Events  string `xml:"eventSubURL"`
	} `xml:"serviceList>service"`
	Devices []shownDevice `xml:"deviceList>device"`
}

// shown reads a description.
func shown(tb testing.TB, a *asker, path string) shownDevice {
	tb.Helper()
	var root struct {
		XMLName xml.Name    `xml:"urn:schemas-upnp-org:device-1-0 root"`
		Device  shownDevice `xml:"device"`
	}
	got := a.must(http.MethodGet, path, "", nil)
	if err := xml.Unmarshal(got.body, &root); err != nil || got.status != http.StatusOK {
		tb.Fatalf("%s: %d, %v", path, got.status, err)
	}
	return root.Device
}

// all returns a device and those in it.
func (d shownDevice) all() []shownDevice {
	out := []shownDevice{d}
	for _, inner := range d.Devices {
		out = append(out, inner.all()...)
	}
	return out
}

// udnOf returns the name of a device in a description.
func udnOf(tb testing.TB, a *asker, path, name string) string {
	tb.Helper()
	for _, d := range shown(tb, a, path).all() {
		if strings.Contains(d.Type, ":"+name+":") {
			return d.UDN
		}
	}
	tb.Fatalf("no %s in %s", name, path)
	return ""
}

// TestDescriptions: each version is shown with its own types and names, and all that it
// points to is there.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := serverConfig(newPorts(), serverAddr)
		cfg.Name, cfg.Release = "Flat <3>", "1.2.3\r\nX: y"
		_, ln := inMemory(t, cfg)
		a := newAsker(t, ln, clientAddr)
		var udns []string
		for _, version := range []string{"1", "2"} {
			var types []string
			for _, d := range shown(t, a, "/igd"+version+".xml").all() {
				if d.Name != "Flat <3>" {
					t.Errorf("%s is called %q", d.Type, d.Name)
				}
				udns = append(udns, d.UDN)
				types = append(types, strings.TrimPrefix(d.Type, "urn:schemas-upnp-org:device:"))
				for _, s := range d.Services {
					types = append(types, strings.TrimPrefix(s.Type, "urn:schemas-upnp-org:service:")+" "+s.ID)
					if got := a.must("GET", s.SCPD, "", nil); got.status != http.StatusOK {
						t.Errorf("%s: %d", s.SCPD, got.status)
					}
					if got := a.must("POST", s.Control, "", nil); got.status != http.StatusUnsupportedMediaType {
						t.Errorf("%s: %d", s.Control, got.status)
					}
					if got := a.must("SUBSCRIBE", s.Events, "", map[string]string{"Callback": "<http://5.6.7.8/>", "Nt": "upnp:event"}); got.status != http.StatusNotImplemented {
						t.Errorf("%s: %d", s.Events, got.status)
					}
				}
			}
			want := []string{
				"InternetGatewayDevice:" + version, "Layer3Forwarding:1 urn:upnp-org:serviceId:L3Forwarding1",
				"WANDevice:" + version, "WANCommonInterfaceConfig:1 urn:upnp-org:serviceId:WANCommonIFC1",
				"WANConnectionDevice:" + version, "WANIPConnection:" + version + " urn:upnp-org:serviceId:WANIPConn1",
			}
			if diff := cmp.Diff(want, types); diff != "" {
				t.Errorf("version %s (-want +got):\n%s", version, diff)
			}
		}
		slices.Sort(udns)
		if n := len(slices.Compact(udns)); n != 6 {
			t.Errorf("%d names of 6 devices: %v", n, udns)
		}
		if got := a.must("GET", "/igd1.xml", "", nil).header.Get("Server"); !strings.HasSuffix(got, " UPnP/1.1 doublenat/1.2.3Xy") {
			t.Errorf("SERVER: %q", got)
		}
	})
}

// shownService is what an SCPD promises.
type shownService struct {
	Actions []struct {
		Name string `xml:"name"`
		Args []struct {
			Name      string `xml:"name"`
			Direction string `xml:"direction"`
			Variable  string `xml:"relatedStateVariable"`
		} `xml:"argumentList>argument"`
	} `xml:"actionList>action"`
	Variables []struct {
		Name   string   `xml:"name"`
		Type   string   `xml:"dataType"`
		Events string   `xml:"sendEvents,attr"`
		Values []string `xml:"allowedValueList>allowedValue"`
	} `xml:"serviceStateTable>stateVariable"`
}

// standardActions has how the standards write the actions of WANIPConnection:1 and :2, as in
// WANIPConnection:1 §2.4 and WANIPConnection:2 §2.5.
func standardActions(version int) []string {
	all := []string{
		"AddPortMapping(NewRemoteHost,NewExternalPort,NewProtocol,NewInternalPort,NewInternalClient,NewEnabled,NewPortMappingDescription,NewLeaseDuration)",
		"DeletePortMapping(NewRemoteHost,NewExternalPort,NewProtocol)",
		"ForceTermination()",
		"GetConnectionTypeInfo() NewConnectionType,NewPossibleConnectionTypes",
		"GetExternalIPAddress() NewExternalIPAddress",
		"GetGenericPortMappingEntry(NewPortMappingIndex) NewRemoteHost,NewExternalPort,NewProtocol,NewInternalPort,NewInternalClient,NewEnabled,NewPortMappingDescription,NewLeaseDuration",
		"GetNATRSIPStatus() NewRSIPAvailable,NewNATEnabled",
		"GetSpecificPortMappingEntry(NewRemoteHost,NewExternalPort,NewProtocol) NewInternalPort,NewInternalClient,NewEnabled,NewPortMappingDescription,NewLeaseDuration",
		"GetStatusInfo() NewConnectionStatus,NewLastConnectionError,NewUptime",
		"RequestConnection()",
		"SetConnectionType(NewConnectionType)",
	}
	if version > 1 {
		all = append(all,
			"AddAnyPortMapping(NewRemoteHost,NewExternalPort,NewProtocol,NewInternalPort,NewInternalClient,NewEnabled,NewPortMappingDescription,NewLeaseDuration) NewReservedPort",
			"DeletePortMappingRange(NewStartPort,NewEndPort,NewProtocol,NewManage)",
			"GetListOfPortMappings(NewStartPort,NewEndPort,NewProtocol,NewManage,NewNumberOfPorts) NewPortListing",
		)
	}
	slices.Sort(all)
	return all
}

// TestServiceDescriptions: they promise what the standards ask for, and what they promise is
// answered: with a success, or a refusal that is not that there is no such action.
func TestServiceDescriptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
		a := newAsker(t, ln, clientAddr)
		for _, version := range []int{1, 2} {
			for _, name := range []string{"L3Forwarding1", "WANCommonIFC1", "WANIPConn1"} {
				var s shownService
				path := fmt.Sprintf("/igd%d/%s", version, name)
				if err := xml.Unmarshal(a.must("GET", path+".xml", "", nil).body, &s); err != nil {
					t.Fatal(err)
				}
				variables := make(map[string]bool)
				for _, v := range s.Variables {
					if v.Events != "no" || !slices.Contains([]string{"string", "ui2", "ui4", "boolean"}, v.Type) || variables[v.Name] {
						t.Errorf("%s: variable %+v", path, v)
					}
					variables[v.Name] = true
				}
				var promised []string
				for _, action := range s.Actions {
					var in, out []string
					var args pairs
					for _, arg := range action.Args {
						if !variables[arg.Variable] {
							t.Errorf("%s: %s is of variable %s, which is not there", path, arg.Name, arg.Variable)
						}
						if arg.Direction == "in" {
							in, args = append(in, arg.Name), append(args, [2]string{arg.Name, "1"})
						} else {
							out = append(out, arg.Name)
						}
					}
					promised = append(promised, strings.TrimSpace(action.Name+"("+strings.Join(in, ",")+") "+strings.Join(out, ",")))
					kind := map[string]string{"L3Forwarding1": "Layer3Forwarding:1", "WANCommonIFC1": "WANCommonInterfaceConfig:1", "WANIPConn1": fmt.Sprintf("WANIPConnection:%d", version)}[name]
					if got, code := a.call(kind, action.Name, args); code == igd.CodeInvalidAction || code == 0 && len(got) != len(out) {
						t.Errorf("%s: %s is promised, and returns %v, code %d", path, action.Name, got, code)
					}
				}
				slices.Sort(promised)
				if diff := cmp.Diff(standardActions(version), promised); name == "WANIPConn1" && diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			}
		}
	})
}

// TestListing: GetListOfPortMappings returns a document in the schema of the standard, of
// the client's own mappings in the order of their ports.
func TestListing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		for i, port := range []uint16{20005, 20001, 20003} {
			p.put(igd.Mapping{Protocol: igd.TCP, External: port, Client: clientAddr.Addr(), Internal: uint16(i + 1), Lease: igd.MaxLease, Description: "a&b]]>"})
		}
		p.put(igd.Mapping{Protocol: igd.TCP, External: 20002, Client: netip.MustParseAddr("192.168.88.11"), Internal: 1})
		_, ln := inMemory(t, serverConfig(p, serverAddr))
		a := newAsker(t, ln, clientAddr)
		for most, want := range map[string][]string{
			"0": {"20001 TCP 2 a&b]]> 604800", "20003 TCP 3 a&b]]> 604800", "20005 TCP 1 a&b]]> 604800"}, "2": {"20001 TCP 2 a&b]]> 604800", "20003 TCP 3 a&b]]> 604800"},
		} {
			out, code := a.call("WANIPConnection:2", "GetListOfPortMappings", ranged().with(map[string]string{"NewNumberOfPorts": most}))
			var list struct {
				XMLName xml.Name `xml:"urn:schemas-upnp-org:gw:WANIPConnection PortMappingList"`
				Entries []struct {
					Port     string `xml:"NewExternalPort"`
					Protocol string `xml:"NewProtocol"`
					Internal string `xml:"NewInternalPort"`
					Text     string `xml:"NewDescription"`
					Lease    string `xml:"NewLeaseTime"`
				} `xml:"PortMappingEntry"`
			}
			if err := xml.Unmarshal([]byte(out["NewPortListing"]), &list); err != nil || code != 0 {
				t.Fatalf("code %d, %v", code, err)
			}
			var got []string
			for _, e := range list.Entries {
				got = append(got, strings.Join([]string{e.Port, e.Protocol, e.Internal, e.Text, e.Lease}, " "))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of them (-want +got):\n%s", most, diff)
			}
		}
	})
}

// TestQueryStateVariable: Windows asks so.
func TestQueryStateVariable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		p.put(igd.Mapping{Protocol: igd.TCP, External: 1, Client: clientAddr.Addr(), Internal: 1}, igd.Mapping{Protocol: igd.TCP, External: 2, Client: serverAddr.Addr(), Internal: 1})
		_, ln := inMemory(t, serverConfig(p, serverAddr))
		a := newAsker(t, ln, clientAddr)
		ask := func(path, name string) (string, igd.Code) {
			header, body := soapCall("urn:schemas-upnp-org:control-1-0", "QueryStateVariable", pairs{{"varName", name}})
			got := a.must("POST", path, body, header)
			out, err := igd.ParseReply("QueryStateVariable", got.status, got.body)
			return out["return"], igd.CodeOf(err)
		}
		for name, want := range map[string]string{
			"ConnectionStatus": "Connected", "PortMappingNumberOfEntries": "1", "ExternalIPAddress": "5.6.7.8", "PossibleConnectionTypes": "IP_Routed",
		} {
			if got, code := ask("/igd1/WANIPConn1", name); got != want || code != 0 {
				t.Errorf("%s is %q, code %d", name, got, code)
			}
		}
		for path, name := range map[string]string{"/igd1/WANIPConn1": "RemoteHost", "/igd1/WANCommonIFC1": "ConnectionStatus"} {
			if got, code := ask(path, name); got != "" || code != igd.CodeInvalidVar {
				t.Errorf("%s of %s is %q, code %d", name, path, got, code)
			}
		}
	})
}
