package igd_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// asker is a client of a server in memory. It knows nothing of how the server writes.
type asker struct {
	tb   testing.TB
	at   netip.AddrPort
	http *http.Client
}

// newAsker returns a client with an address.
func newAsker(tb testing.TB, ln *igdtest.Listener, from netip.AddrPort) *asker {
	tb.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.Dial(ctx, from) },
	}
	tb.Cleanup(transport.CloseIdleConnections)
	return &asker{tb: tb, at: netip.MustParseAddrPort(ln.Addr().String()), http: &http.Client{Transport: transport}}
}

// heard is an answer.
type heard struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request. Headers replace those that it would have.
func (a *asker) ask(method, path, body string, header map[string]string) (heard, error) {
	a.tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+a.at.String()+path, strings.NewReader(body))
	if err != nil {
		a.tb.Fatal(err)
	}
	for name, value := range header {
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return heard{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return heard{resp.StatusCode, resp.Header, got}, err
}

// must is ask for requests that are answered.
func (a *asker) must(method, path, body string, header map[string]string) heard {
	a.tb.Helper()
	got, err := a.ask(method, path, body, header)
	if err != nil {
		a.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// The services by their short names, with where they are asked.
func controlOf(service string) string {
	name, version, _ := strings.Cut(service, ":")
	return map[string]string{
		"Layer3Forwarding": "/igd" + version + "/L3Forwarding1", "WANCommonInterfaceConfig": "/igd" + version + "/WANCommonIFC1",
		"WANIPConnection": "/igd" + version + "/WANIPConn1",
	}[name]
}

// pairs are arguments in their order.
type pairs [][2]string

// with returns them with other values, or without those whose value is "-".
func (p pairs) with(change map[string]string) pairs {
	var out pairs
	change = maps.Clone(change)
	for _, a := range p {
		value, ok := change[a[0]]
		if delete(change, a[0]); !ok {
			value = a[1]
		}
		if value != "-" {
			out = append(out, [2]string{a[0], value})
		}
	}
	for name, value := range change {
		out = append(out, [2]string{name, value})
	}
	return out
}

// call is the header and the body of a request for an action.
func soapCall(urn, action string, args pairs) (map[string]string, string) {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/">` +
		`<SOAP-ENV:Body><m:` + action + ` xmlns:m="` + urn + `">`)
	for _, a := range args {
		b.WriteString("<" + a[0] + ">")
		_ = xml.EscapeText(&b, []byte(a[1]))
		b.WriteString("</" + a[0] + ">")
	}
	b.WriteString("</m:" + action + "></SOAP-ENV:Body></SOAP-ENV:Envelope>")
	return map[string]string{"Content-Type": "text/xml", "SOAPAction": `"` + urn + "#" + action + `"`}, b.String()
}

// call asks for an action of a service, as "WANIPConnection:1", and returns what it returns,
// or its code.
func (a *asker) call(service, action string, args pairs) (map[string]string, igd.Code) {
	a.tb.Helper()
	header, body := soapCall("urn:schemas-upnp-org:service:"+service, action, args)
	got := a.must(http.MethodPost, controlOf(service), body, header)
	out, err := igd.ParseReply(action, got.status, got.body)
	code := igd.CodeOf(err)
	if err != nil && code == 0 {
		a.tb.Errorf("%s of %s: %v: %d %s", action, service, err, got.status, got.body)
	}
	if wantStatus := map[bool]int{true: http.StatusOK, false: http.StatusInternalServerError}[code == 0]; got.status != wantStatus {
		a.tb.Errorf("%s of %s: status %d", action, service, got.status)
	}
	return out, code
}
