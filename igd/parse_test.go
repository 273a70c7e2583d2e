package igd_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

func TestParseLocation(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://192.168.1.1":                              "http://192.168.1.1:80/",
		"http://192.168.1.1:49000/a/b.xml?c=d e":          "",
		"http://192.168.1.1:49000/a/b.xml?c=d%20e":        "http://192.168.1.1:49000/a/b.xml?c=d%20e",
		"HTTP://192.168.1.1:5000/rootDesc.xml#part":       "http://192.168.1.1:5000/rootDesc.xml",
		"http://192.168.1.1:0/":                           "",
		"http://192.168.1.1:65536/":                       "",
		"http://192.168.1.2/":                             "",
		"http://3232235777/":                              "",
		"http://[::ffff:192.168.1.1]/":                    "",
		"http://user@192.168.1.1/":                        "",
		"https://192.168.1.1/":                            "",
		"http:192.168.1.1":                                "",
		"//192.168.1.1/":                                  "",
		"http://192.168.1.1/\r\nHost: evil":               "",
		"http://192.168.1.1/" + strings.Repeat("a", 2000): "",
		"": "",
	} {
		got, err := igd.ParseLocation(url, boxAddr)
		if got.String() != want || (err == nil) != (want != "") {
			t.Errorf("%.60q: %v, %v; want %q", url, got, err, want)
		}
	}
}

func TestParseSearchReply(t *testing.T) {
	t.Parallel()
	const place = "http://192.168.1.1:5000/x"
	at, err := igd.ParseLocation(place, boxAddr)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		packet string
		want   igd.SearchReply
		err    error
	}{
		"as it should be":     {"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: " + place + "\r\nBOOTID.UPNP.ORG: 7\r\n\r\n", igd.SearchReply{Location: at, Target: "upnp:rootdevice", Boot: "7"}, nil},
		"bare line feeds":     {"HTTP/1.0 200\nlocation:" + place + "\nst:x", igd.SearchReply{Location: at, Target: "x"}, nil},
		"libupnp":             {"HTTP/1.1 200 OK\r\nLocation: " + place + "\r\n01-NLS: abc\r\n\r\n", igd.SearchReply{Location: at, Boot: "abc"}, nil},
		"an announcement":     {"NOTIFY * HTTP/1.1\r\nLOCATION: " + place + "\r\n\r\n", igd.SearchReply{}, igd.ErrNonsense},
		"a failure":           {"HTTP/1.1 404 Not Found\r\nLOCATION: " + place + "\r\n\r\n", igd.SearchReply{}, igd.ErrNonsense},
		"no place":            {"HTTP/1.1 200 OK\r\n\r\nLOCATION: " + place, igd.SearchReply{}, igd.ErrNonsense},
		"after many headers":  {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 64) + "LOCATION: " + place, igd.SearchReply{}, igd.ErrNonsense},
		"a very long one":     {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 1000), igd.SearchReply{}, igd.ErrTooLarge},
		"nothing":             {"", igd.SearchReply{}, igd.ErrNonsense},
		"another host's":      {"HTTP/1.1 200 OK\r\nLOCATION: http://8.8.8.8/\r\n\r\n", igd.SearchReply{}, igd.ErrElsewhere},
		"text that is a trap": {"HTTP/1.1 200 OK\r\nST: a\x1b[31m\u0085b\r\nLOCATION: " + place + "\r\n\r\n", igd.SearchReply{Location: at, Target: "a[31mb"}, nil},
	} {
		got, err := igd.ParseSearchReply([]byte(tt.packet), boxAddr)
		if diff := cmp.Diff(tt.want, got, places()); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", name, err, tt.err, diff)
		}
	}
}

func places() cmp.Option {
	return cmp.Comparer(func(a, b igd.Location) bool { return a == b })
}

const service = "<service><serviceType>urn:schemas-upnp-org:service:%s</serviceType><controlURL>%s</controlURL></service>"

func TestParseDescription(t *testing.T) {
	t.Parallel()
	at, err := igd.ParseLocation("http://192.168.1.1:5000/dir/desc.xml", boxAddr)
	if err != nil {
		t.Fatal(err)
	}
	describe := func(head string, services ...string) string {
		var b strings.Builder
		for i := 0; i < len(services); i += 2 {
			b.WriteString(strings.Replace(strings.Replace(service, "%s", services[i], 1), "%s", services[i+1], 1))
		}
		return "<root>" + head + "<device><deviceList><device><serviceList>" + b.String() + "</serviceList></device></deviceList></device></root>"
	}
	for name, tt := range map[string]struct {
		document string
		want     []string
		err      error
	}{
		"relative":           {describe("", "WANIPConnection:1", "ctl"), []string{"WANIPConnection:1 http://192.168.1.1:5000/dir/ctl"}, nil},
		"another port":       {describe("", "WANIPConnection:1", "http://192.168.1.1:80/ctl"), []string{"WANIPConnection:1 http://192.168.1.1:80/ctl"}, nil},
		"order":              {describe("", "WANPPPConnection:1", "/p", "WANIPConnection:1", "/1", "WANIPConnection:2", "/2"), []string{"WANIPConnection:2 http://192.168.1.1:5000/2", "WANIPConnection:1 http://192.168.1.1:5000/1", "WANPPPConnection:1 http://192.168.1.1:5000/p"}, nil},
		"base":               {describe("<URLBase>http://192.168.1.1:8080/x/</URLBase>", "WANIPConnection:1", "ctl"), []string{"WANIPConnection:1 http://192.168.1.1:8080/x/ctl"}, nil},
		"base elsewhere":     {describe("<URLBase>http://10.0.0.1/x/</URLBase>", "WANIPConnection:1", "/ctl"), []string{"WANIPConnection:1 http://192.168.1.1:5000/ctl"}, nil},
		"one elsewhere":      {describe("", "WANIPConnection:1", "http://10.0.0.1/", "WANPPPConnection:1", "/p"), []string{"WANPPPConnection:1 http://192.168.1.1:5000/p"}, nil},
		"all elsewhere":      {describe("", "WANIPConnection:1", "http://10.0.0.1/"), nil, igd.ErrElsewhere},
		"a later version":    {describe("", "WANIPConnection:3", "/3"), []string{"WANIPConnection:2 http://192.168.1.1:5000/3"}, nil},
		"prefixes":           {strings.NewReplacer("</", "</u:", "<", "<u:").Replace(describe("", "WANIPConnection:1", "/1")), []string{"WANIPConnection:1 http://192.168.1.1:5000/1"}, nil},
		"around it":          {"\ufeff \r\n<?xml version='1.0' encoding='GB2312'?>" + describe("", "WANIPConnection:1", "/1") + "\x00\x00<", []string{"WANIPConnection:1 http://192.168.1.1:5000/1"}, nil},
		"a bare ampersand":   {describe("<a>b & c \xff</a>", "WANIPConnection:1", "/1"), []string{"WANIPConnection:1 http://192.168.1.1:5000/1"}, nil},
		"a printer":          {describe("", "Printing:1", "/1"), nil, igd.ErrNoService},
		"no version":         {describe("", "WANIPConnection", "/1", "WANIPConnection:x", "/1", "WANIPConnection:0", "/1"), nil, igd.ErrNoService},
		"without a URL":      {describe("", "WANIPConnection:1", ""), nil, igd.ErrNonsense},
		"an actual response": {"<Envelope><Body/></Envelope>", nil, igd.ErrNonsense},
		"overlapping":        {"<root><device></root></device>", nil, igd.ErrNonsense},
		"a closed root":      {"</root>", nil, igd.ErrNonsense},
		"a DTD":              {"<!DOCTYPE root SYSTEM 'http://10.0.0.1/x'>" + describe("", "WANIPConnection:1", "/1"), nil, igd.ErrDoctype},
	} {
		d, err := igd.ParseDescription([]byte(tt.document), at)
		var got []string
		for _, s := range d.Services {
			got = append(got, s.String()+" "+s.Control.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", name, err, tt.err, diff)
		}
	}
}

func TestParseReply(t *testing.T) {
	t.Parallel()
	envelope := func(s string) string { return "<Envelope><Body>" + s + "</Body></Envelope>" }
	fault := func(s string) string {
		return envelope("<Fault><faultcode>x</faultcode><detail><UPnPError>" + s + "</UPnPError></detail></Fault>")
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   map[string]string
		err    string
	}{
		"success":         {200, envelope("<FooResponse><A> b </A><C/></FooResponse>"), map[string]string{"A": "b", "C": ""}, ""},
		"empty success":   {200, envelope("<FooResponse/>"), map[string]string{}, ""},
		"another's":       {200, envelope("<BarResponse/>"), nil, "answer cannot be read: no response to Foo in it"},
		"fault":           {500, fault("<errorCode>718</errorCode><errorDescription>Taken\r\nalready</errorDescription>"), nil, "Foo: 718 ConflictInMappingEntry (Takenalready)"},
		"fault with 200":  {200, fault("<errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported</errorDescription>"), nil, "Foo: 725 OnlyPermanentLeasesSupported"},
		"unknown code":    {500, fault("<errorCode>899</errorCode>"), nil, "Foo: 899 code 899"},
		"no code":         {500, fault(""), nil, "Foo: 501 ActionFailed"},
		"a huge code":     {500, fault("<errorCode>99999</errorCode>"), nil, "Foo: 501 ActionFailed"},
		"success and 500": {500, envelope("<FooResponse/>"), nil, "HTTP status 500"},
		"a page":          {404, "<html>", nil, "HTTP status 404"},
		"nothing":         {200, "", nil, "answer cannot be read: it ends too soon"},
	} {
		got, err := igd.ParseReply("Foo", tt.status, []byte(tt.body))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || said != tt.err {
			t.Errorf("%s: %q, want %q (-want +got):\n%s", name, said, tt.err, diff)
		}
	}
}

// FuzzParseSearchReply: no panic, and nothing that leads elsewhere.
func FuzzParseSearchReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://192.168.1.1:5000/x?y#z\r\nBOOTID.UPNP.ORG: 7\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200\nlocation:http://192.168.1.1\n01-NLS: 1"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply, err := igd.ParseSearchReply(packet, boxAddr)
		if err != nil {
			return
		}
		stays(t, reply.Location)
		if len(reply.Target) > 64 || len(reply.Boot) > 64 {
			t.Errorf("long texts: %+v", reply)
		}
	})
}

// stays fails unless a location is one of the box, which reads as it is written.
func stays(t *testing.T, l igd.Location) {
	t.Helper()
	again, err := igd.ParseLocation(l.String(), boxAddr)
	if l.Addr() != boxAddr || err != nil || again != l {
		t.Errorf("%q is read as %q, %v", l, again, err)
	}
}

// FuzzParseDescription is the same for descriptions.
func FuzzParseDescription(f *testing.F) {
	at, err := igd.ParseLocation("http://192.168.1.1:5000/desc.xml", netip.Addr{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("<root><URLBase>http://192.168.1.1/</URLBase><device><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1" +
		"</serviceType><controlURL>/a?b#c</controlURL></service></device></root>"))
	f.Add(igdtest.Entities())
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := igd.ParseDescription(body, at)
		if err != nil {
			return
		}
		if len(d.Services) == 0 || len(d.Services) > 8 || len(d.Name)+len(d.Manufacturer)+len(d.Model) > 3*64 {
			t.Errorf("description %+v", d)
		}
		for _, s := range d.Services {
			stays(t, s.Control)
		}
	})
}

// FuzzParseReply: what is a fault is no success, and texts are short.
func FuzzParseReply(f *testing.F) {
	f.Add(200, []byte("<s:Envelope xmlns:s='x'><s:Body><u:FooResponse xmlns:u='y'><A>b</A></u:FooResponse></s:Body></s:Envelope>"))
	f.Add(500, []byte("<Envelope><Body><Fault><detail><UPnPError><errorCode>718</errorCode></UPnPError></detail></Fault></Body></Envelope>"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		out, err := igd.ParseReply("Foo", status, body)
		if (out == nil) == (err == nil) || err == nil && status != http.StatusOK {
			t.Errorf("status %d: %v, %v", status, out, err)
		}
		if failed, ok := errors.AsType[*igd.ActionError](err); ok && (failed.Code == 0 || len(failed.Description) > 64) {
			t.Errorf("fault %+v", failed)
		}
	})
}
