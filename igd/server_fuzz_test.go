package igd_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/datagram"
)

// FuzzSearch: a packet has one answer at most, that our own client can read if a client could
// have sent it, and whose headers it cannot choose.
func FuzzSearch(f *testing.F) {
	for _, target := range []string{"upnp:rootdevice", "ssdp:all", "urn:schemas-upnp-org:service:WANIPConnection:2", "uuid:x"} {
		f.Add([]byte(search(target)))
	}
	f.Add([]byte(search("upnp:rootdevice", "MX: 2", "MX: 0")))
	f.Add([]byte("NOTIFY * HTTP/1.1\r\n\r\n"))
	f.Add([]byte{})
	s := newServer(f, serverConfig(newPorts(), serverAddr))
	from, n := multicast(), uint32(0)
	f.Fuzz(func(t *testing.T, packet []byte) {
		n++ // It is another client each time, which has its share of answers.
		from.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1)
		asked, ok := igd.ParseSearch(packet)
		if ok && (asked.Target == "" || asked.Wait < 0 || asked.Wait > 65535 || strings.ContainsAny(asked.Target, "\n")) {
			t.Errorf("%q: %+v", packet, asked)
		}
		discard := s.Searches().Discard(packet)
		if (discard == datagram.Response) == ok {
			t.Errorf("%q: %v, %v", packet, discard, ok)
		}
		got := answerTo(t, s, string(packet), from)
		if got == "" {
			return
		}
		reply, err := igd.ParseSearchReply([]byte(got), serverAddr.Addr())
		if err != nil || discard != datagram.Keep || asked.Wait == 0 || strings.Count(got, "\r\n") != 11 || len(got) > 512 {
			t.Errorf("%q: %q, %+v, %v", packet, got, reply, err)
		}
	})
}

// FuzzControl: whatever is posted gets an answer that a client can read, maps nothing but the
// client's own ports, and has text in it that is printable alone.
func FuzzControl(f *testing.F) {
	for _, action := range []struct {
		name string
		args pairs
	}{{"AddPortMapping", wanted()}, {"AddAnyPortMapping", wanted()}, {"DeletePortMapping", named()}, {"DeletePortMappingRange", ranged()}, {"GetStatusInfo", nil}} {
		header, body := soapCall("urn:schemas-upnp-org:service:WANIPConnection:2", action.name, action.args)
		f.Add("/igd2/WANIPConn1", header["SOAPAction"], "text/xml", []byte(body))
	}
	f.Add("/igd1/WANIPConn1", "x#y", `text/xml; charset="utf-8"`, igdtest.Entities())
	f.Add("/igd1/L3Forwarding1", `"#"`, "text/xml", []byte("<Envelope><Body></Body></Envelope>"))
	p := newPorts()
	s := newServer(f, serverConfig(p, serverAddr))
	f.Fuzz(func(t *testing.T, path, action, contentType string, body []byte) {
		p.all = nil
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.URL.Path, req.Host = path, serverAddr.String()
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("SOAPAction", action)
		w := httptest.NewRecorder()
		s.Answer(w, req, igd.Arrival{Client: clientAddr, Destination: serverAddr.Addr()})
		checkAnswer(t, p, w)
	})
}

// FuzzArguments: each argument of AddAnyPortMapping, whatever it says.
func FuzzArguments(f *testing.F) {
	f.Add("", "20000", "TCP", "20001", "192.168.88.10", "1", "a game", "3600")
	f.Add("*", "0", "udp", "65535", "", "true", "\x00\r\n\u0085<", "0")
	f.Add("x", "-1", "", "0x10", "::1", "yes", strings.Repeat("x", 300), "4294967295")
	p := newPorts()
	s := newServer(f, serverConfig(p, serverAddr))
	f.Fuzz(func(t *testing.T, host, external, protocol, internal, client, enabled, description, lease string) {
		header, body := soapCall("urn:schemas-upnp-org:service:WANIPConnection:2", "AddAnyPortMapping", pairs{
			{"NewRemoteHost", host},
			{"NewExternalPort", external},
			{"NewProtocol", protocol},
			{"NewInternalPort", internal},
			{"NewInternalClient", client},
			{"NewEnabled", enabled},
			{"NewPortMappingDescription", description},
			{"NewLeaseDuration", lease},
		})
		p.all = nil
		req := httptest.NewRequest(http.MethodPost, "/igd2/WANIPConn1", strings.NewReader(body))
		req.Host = serverAddr.String()
		for name, value := range header {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		s.Answer(w, req, igd.Arrival{Client: clientAddr, Destination: serverAddr.Addr()})
		checkAnswer(t, p, w)
		if all := p.PortMappings(igd.Arrival{}); len(all) == 1 {
			port, err := strconv.ParseUint(external, 10, 16)
			if m := all[0]; err != nil && !strings.ContainsAny(external, " \t\r\n") || port != 0 && m.External != uint16(port) {
				t.Errorf("%q became %+v", external, m)
			}
		}
	})
}

// checkAnswer checks an answer of the control handler and what came of it.
func checkAnswer(t *testing.T, p *ports, w *httptest.ResponseRecorder) {
	t.Helper()
	if !slices.Contains([]int{200, 400, 404, 405, 413, 415, 500}, w.Code) {
		t.Errorf("status %d", w.Code)
	}
	for _, m := range p.PortMappings(igd.Arrival{}) {
		if m.Client != clientAddr.Addr() || m.Internal == 0 || m.External == 0 || m.Lease < 0 || m.Lease > igd.MaxLease || m.Protocol != igd.TCP && m.Protocol != igd.UDP ||
			len(m.Description) > 64 || strings.ContainsFunc(m.Description, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			t.Errorf("mapped %+v", m)
		}
	}
	if w.Code != http.StatusOK && w.Code != http.StatusInternalServerError {
		return
	}
	body := w.Body.String()
	_, name, _ := strings.Cut(body, "<u:")
	name, _, _ = strings.Cut(name, "Response ")
	if _, err := igd.ParseReply(name, w.Code, []byte(body)); err != nil && (w.Code == http.StatusOK || igd.CodeOf(err) == 0) {
		t.Errorf("%v: %s", err, body)
	}
}
