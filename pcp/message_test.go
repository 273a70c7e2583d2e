package pcp_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/pcp"
)

// unhex reads hexadecimal digits with spaces.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// addresses lets go-cmp compare addresses.
var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// What packets consist of.
const (
	me       = "00000000 00000000 0000ffff c0a80102 " // 192.168.1.2 (RFC 6887 §5)
	nonce    = "000102030405060708090a0b "
	any4     = "00000000 00000000 0000ffff 00000000 "
	mapTail  = nonce + "06 000000 1ae1 c8d5 " + any4
	mapBytes = "02 01 0000 00000e10 " + me + mapTail
	third    = "01 00 0010 00000000 00000000 0000ffff c0a80103 "
	failure  = "02 00 0000 "
	filter   = "03 00 0014 00 80 0050 00000000 00000000 0000ffff 01020304 "
)

// mapRequest is what mapBytes has.
func mapRequest(change func(r *pcp.Request)) pcp.Request {
	r := pcp.Request{
		Opcode: pcp.OpMap, Lifetime: 3600, Client: netip.MustParseAddr("192.168.1.2"),
		Map: pcp.Map{
			Nonce: pcp.Nonce{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, Protocol: pcp.TCP, InternalPort: 6881, ExternalPort: 51413,
			ExternalAddress: netip.IPv4Unspecified(),
		},
	}
	if change != nil {
		change(&r)
	}
	return r
}

// TestRequests has requests that are read and written byte by byte.
func TestRequests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wire string
		want pcp.Request
	}{
		"announce": {
			"02 00 0000 00000000 " + me,
			pcp.Request{Opcode: pcp.OpAnnounce, Client: netip.MustParseAddr("192.168.1.2")},
		},
		"announce of IPv6": {
			"02 00 0000 00000000 20010db8 00000000 00000000 00000001",
			pcp.Request{Opcode: pcp.OpAnnounce, Client: netip.MustParseAddr("2001:db8::1")},
		},
		"map": {mapBytes, mapRequest(nil)},
		"all options": {mapBytes + third + failure + filter + filter, mapRequest(func(r *pcp.Request) {
			one := pcp.Filter{Remote: netip.MustParsePrefix("1.2.3.4/32"), Port: 80}
			r.Options = pcp.Options{
				ThirdParty: netip.MustParseAddr("192.168.1.3"), PreferFailure: true,
				Filters: [pcp.MaxFilters]pcp.Filter{one, one}, Filtered: 2,
			}
		})},
		"deletion": {"02 01 0000 00000000 " + me + mapTail, mapRequest(func(r *pcp.Request) { r.Lifetime = 0 })},
		"filters of 96, 0 and IPv6": {
			mapBytes + "03 00 0014 00 60 0000 " + any4 + "03 00 0014 00 00 0000 " + any4 +
				"03 00 0014 00 20 ffff 20010db8 00000000 00000000 00000000",
			mapRequest(func(r *pcp.Request) {
				r.Options = pcp.Options{Filtered: 3, Filters: [pcp.MaxFilters]pcp.Filter{
					{Remote: netip.MustParsePrefix("::ffff:0.0.0.0/96")},
					{Remote: netip.MustParsePrefix("0.0.0.0/0")},
					{Remote: netip.MustParsePrefix("2001:db8::/32"), Port: 65535},
				}}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pcp.ParseRequest(unhex(t, tt.wire))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, addresses); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(unhex(t, tt.wire), got.Append(nil)); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestsRefused has what RFC 6887 §7.3, §8.2, §11 and §13 refuse, with the result that
// a server answers and its lifetime; -1 is no answer.
func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("80 00 0000 ", (pcp.MaxPacket-60)/4)
	for name, tt := range map[string]struct {
		wire string
		want error
		code int
	}{
		"nothing":                           {"", pcp.ErrShort, -1},
		"one byte":                          {"02", pcp.ErrShort, -1},
		"a response":                        {"02 81 0000 00000000 " + me, pcp.ErrIsResponse, -1},
		"a response of another version":     {"03 81 0000 00000000 " + me, pcp.ErrIsResponse, -1},
		"version 1":                         {"01 01 0000 00000000 " + me, pcp.ErrUnsupportedVersion, 1},
		"version 3 of two bytes":            {"03 01", pcp.ErrUnsupportedVersion, 1},
		"23 bytes":                          {"02 00 0000 00000000 " + me[:len(me)-3], pcp.ErrShort, -1},
		"25 bytes":                          {"02 00 0000 00000000 " + me + "00", pcp.ErrMalformed, 3},
		"1104 bytes":                        {mapBytes + long + "80 00 0000", pcp.ErrMalformed, 3},
		"half a map":                        {mapBytes[:len(mapBytes)-9], pcp.ErrMalformed, 3},
		"a port of no protocol":             {strings.Replace(mapBytes, "06 000000", "00 000000", 1), pcp.ErrMalformed, 3},
		"peer":                              {strings.Replace(mapBytes, "02 01", "02 02", 1) + mapTail, pcp.ErrUnsupportedOpcode, 4},
		"opcode 3":                          {"02 03 0000 00000000 " + me, pcp.ErrUnsupportedOpcode, 4},
		"option 0":                          {mapBytes + "00 00 0000", pcp.ErrUnsupportedOption, 5},
		"option 127":                        {mapBytes + "7f 00 0000", pcp.ErrUnsupportedOption, 5},
		"an unknown option before a bad":    {mapBytes + "04 00 0000 02 00 0004 00000000", pcp.ErrUnsupportedOption, 5},
		"a bad option before an unknown":    {mapBytes + "02 00 0004 00000000 04 00 0000", pcp.ErrMalformedOption, 6},
		"an option beyond the end":          {mapBytes + "80 00 0004", pcp.ErrMalformedOption, 6},
		"PREFER_FAILURE twice":              {mapBytes + failure + failure, pcp.ErrMalformedOption, 6},
		"PREFER_FAILURE of 4 bytes":         {mapBytes + "02 00 0004 00000000", pcp.ErrMalformedOption, 6},
		"PREFER_FAILURE for any port":       {strings.Replace(mapBytes, "c8d5", "0000", 1) + failure, pcp.ErrMalformedOption, 6},
		"THIRD_PARTY twice":                 {mapBytes + third + third, pcp.ErrMalformedOption, 6},
		"THIRD_PARTY of 12 bytes":           {mapBytes + "01 00 000c 00000000 00000000 00000000", pcp.ErrMalformedOption, 6},
		"THIRD_PARTY is oneself":            {mapBytes + "01 00 0010 " + me, pcp.ErrMalformed, 3},
		"FILTER of 16 bytes":                {mapBytes + "03 00 0010 00 80 0050 00000000 00000000 0000ffff", pcp.ErrMalformedOption, 6},
		"FILTER of prefix 95 of IPv4":       {mapBytes + strings.Replace(filter, "00 80", "00 5f", 1), pcp.ErrMalformedOption, 6},
		"FILTER of prefix 129":              {mapBytes + strings.Replace(filter, "00 80", "00 81", 1), pcp.ErrMalformedOption, 6},
		"FILTER of a deletion":              {strings.Replace(mapBytes, "00000e10", "00000000", 1) + filter, pcp.ErrMalformedOption, 6},
		"an option of map in announce":      {"02 00 0000 00000000 " + me + failure, pcp.ErrUnsupportedOption, 5},
		"an option beyond announce's end":   {"02 00 0000 00000000 " + me + "80 00 0004", pcp.ErrMalformedOption, 6},
		"an unknown option of announce":     {"02 00 0000 00000000 " + me + "05 00 0000", pcp.ErrUnsupportedOption, 5},
		"PREFER_FAILURE and FILTER of /129": {mapBytes + failure + strings.Replace(filter, "00 80", "00 ff", 1), pcp.ErrMalformedOption, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pcp.ParseRequest(unhex(t, tt.wire))
			if !errors.Is(err, tt.want) || got != (pcp.Request{}) {
				t.Errorf("%+v, %v, want %v", got, err, tt.want)
			}
			code, answer := pcp.ResultOf(err)
			if answer != (tt.code >= 0) || answer && int(code) != tt.code {
				t.Errorf("answered with %d (%v), want %d", code, answer, tt.code)
			}
			if answer && code.Lifetime() != pcp.LongErrorLifetime {
				t.Errorf("the failure lasts %v", code.Lifetime())
			}
		})
	}
}

// TestOptionsTolerated: options of 128 and above are left out of account, with their
// padding, and so is what is reserved. The longest packet is read.
func TestOptionsTolerated(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"unknown, optional":        mapBytes + "80 00 0000 ff 00 0005 0102030405 000000",
		"longest":                  mapBytes + strings.Repeat("80 00 0000 ", (pcp.MaxPacket-60)/4),
		"reserved of the header":   strings.Replace(mapBytes, "02 01 0000", "02 01 ffff", 1),
		"reserved of map":          strings.Replace(mapBytes, "06 000000", "06 ffffff", 1),
		"reserved of the options'": mapBytes + "80 ff 0004 ffffffff",
	} {
		if got, err := pcp.ParseRequest(unhex(t, wire)); err != nil || got != mapRequest(nil) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	many, err := pcp.ParseRequest(unhex(t, mapBytes+strings.Repeat(filter, pcp.MaxFilters+1)))
	if err != nil || many.Options.Filtered != pcp.MaxFilters+1 {
		t.Errorf("%d filters, %v", many.Options.Filtered, err)
	}
}

// TestResponses has responses that are read and written byte by byte.
func TestResponses(t *testing.T) {
	t.Parallel()
	zeros := "00000000 00000000 00000000 "
	granted := pcp.Response{
		Opcode: pcp.OpMap, Lifetime: 7200, Epoch: 0x01020304,
		Map: pcp.Map{
			Nonce: mapRequest(nil).Map.Nonce, Protocol: pcp.UDP, InternalPort: 6881, ExternalPort: 51413,
			ExternalAddress: netip.MustParseAddr("5.6.7.8"),
		},
	}
	for name, tt := range map[string]struct {
		wire string
		want pcp.Response
	}{
		"announce": {"02 80 00 00 00000000 00000005 " + zeros, pcp.Response{Epoch: 5}},
		"map": {
			"02 81 00 00 00001c20 01020304 " + zeros + nonce + "11 000000 1ae1 c8d5 00000000 00000000 0000ffff 05060708", granted,
		},
		"failure of peer": {"02 82 00 04 00000708 00000001 " + zeros, pcp.Response{Opcode: pcp.OpPeer, Result: 4, Lifetime: 1800, Epoch: 1}},
		"unknown result":  {"02 80 00 ff 00000708 00000001 " + zeros, pcp.Response{Result: 255, Lifetime: 1800, Epoch: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pcp.ParseResponse(unhex(t, tt.wire))
			if diff := cmp.Diff(tt.want, got, addresses); diff != "" || err != nil {
				t.Errorf("%v, read (-want +got):\n%s", err, diff)
			}
			if diff := cmp.Diff(unhex(t, tt.wire), got.Append(nil)); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

// TestResponsesRefused has what RFC 6887 §8.3 has a client ignore.
func TestResponsesRefused(t *testing.T) {
	t.Parallel()
	zeros := "00000000 00000000 00000000 "
	for wire, want := range map[string]error{
		"02 80 00":          pcp.ErrShort,
		"02 00 00 00" + me:  pcp.ErrIsRequest,
		"00 80 00 01 " + me: pcp.ErrUnsupportedVersion,
		"02 80 00 00 00000000 00000005 00000000 00000000":           pcp.ErrShort,
		"02 80 00 00 00000000 00000005 " + zeros + "00":             pcp.ErrMalformed,
		"02 81 00 00 00000000 00000005 " + zeros:                    pcp.ErrShort,
		"02 82 00 00 00000000 00000005 " + zeros:                    pcp.ErrUnsupportedOpcode,
		"02 80 00 00" + strings.Repeat("00000000", pcp.MaxPacket/4): pcp.ErrMalformed,
	} {
		if got, err := pcp.ParseResponse(unhex(t, wire)); !errors.Is(err, want) || got != (pcp.Response{}) {
			t.Errorf("%s: %+v, %v, want %v", wire, got, err, want)
		}
	}
	short, err := pcp.ParseResponse(unhex(t, "02 81 00 08 0000001e 00000005 "+zeros))
	if want := (pcp.Response{Opcode: pcp.OpMap, Result: 8, Lifetime: 30, Epoch: 5}); err != nil || short != want {
		t.Errorf("a failure that is only a header: %+v, %v", short, err)
	}
}

// TestVersionOf has the packets by which a gateway says that it does not speak PCP.
func TestVersionOf(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]int{
		"00 80 00 01 00000005":      0, // RFC 6886 §3.5, erratum 3618
		"00 00 00 01 00000005":      0, // as printed
		"00 81 00 01 00000005":      0,
		"01 81 00 01 0000000000":    1,
		"02 80 00 01" + me:          2,
		"00 80 00":                  -1,
		"00 80 00 02 00000005":      -1,
		"00 00 00 01 00000005 00":   -1,
		"02 01 00 01 00000005" + me: -1,
	} {
		version, only := pcp.VersionOf(unhex(t, wire))
		if only != (want >= 0) || only && int(version) != want {
			t.Errorf("%s: version %d, %v, want %d", wire, version, only, want)
		}
	}
}

// TestAppendError has what a server answers to requests that it refuses.
func TestAppendError(t *testing.T) {
	t.Parallel()
	const head, kept, zeros = "00000708 00000009 ", "0000ffff c0a80102 ", "00000000 00000000 00000000 "
	for name, tt := range map[string]struct {
		request string
		code    pcp.ResultCode
		want    string
	}{
		"one byte":           {"02", pcp.ResultUnsupportedVersion, ""},
		"another version":    {"03 05", pcp.ResultUnsupportedVersion, "02 85 00 01 " + head + zeros},
		"another, longer":    {"03 01 0000 00000e10 " + me + mapTail, pcp.ResultUnsupportedVersion, "02 81 00 01 " + head + "00000000 " + kept},
		"not authorized":     {mapBytes, pcp.ResultNotAuthorized, "02 81 00 02 " + head + zeros + mapTail},
		"malformed option":   {mapBytes + failure + failure, pcp.ResultMalformedOption, "02 81 00 06 " + head + "00000000 " + kept + mapTail + failure + failure},
		"of no such size":    {mapBytes + "ff", pcp.ResultMalformedRequest, "02 81 00 03 " + head + "00000000 " + kept + mapTail + "ff000000"},
		"unsupported opcode": {"02 02 0000 00000e10 " + me + mapTail, pcp.ResultUnsupportedOpcode, "02 82 00 04 " + head + "00000000 " + kept + mapTail},
	} {
		got := pcp.AppendError([]byte{7}, unhex(t, tt.request), tt.code, 1800, 9)
		if diff := cmp.Diff(unhex(t, "07"+tt.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := pcp.AppendError(nil, append(unhex(t, mapBytes), make([]byte, 2000)...), pcp.ResultMalformedRequest, 1, 2); len(got) != pcp.MaxPacket {
		t.Errorf("%d bytes answer one that is too long", len(got))
	}
}

// TestResultCodes holds the words and lifetimes against RFC 6887 §7.4.
func TestResultCodes(t *testing.T) {
	t.Parallel()
	want := map[int]string{
		0: "success 0s", 1: "unsupported version 30m0s", 2: "not authorized 30m0s", 3: "malformed request 30m0s",
		4: "unsupported opcode 30m0s", 5: "unsupported option 30m0s", 6: "malformed option 30m0s", 7: "network failure 30s",
		8: "no resources 30s", 9: "unsupported protocol 30m0s", 10: "user exceeded quota 30s", 11: "cannot provide external 30s",
		12: "address mismatch 30m0s", 13: "excessive remote peers 30m0s", 14: "result code 14 30m0s",
	}
	got := make(map[int]string)
	for code := range len(want) {
		c := pcp.ResultCode(code)
		got[code] = c.String() + " " + c.Lifetime().String()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNames of opcodes, protocols and nonces.
func TestNames(t *testing.T) {
	t.Parallel()
	got := []string{
		pcp.OpAnnounce.String(), pcp.OpMap.String(), pcp.OpPeer.String(), pcp.Opcode(9).String(), pcp.TCP.String(), pcp.UDP.String(),
		pcp.AllProtocols.String(), pcp.Protocol(132).String(), pcp.Nonce{1, 11: 255}.String(),
	}
	want := []string{"announce", "map", "peer", "opcode 9", "tcp", "udp", "all", "protocol 132", "0100000000000000000000ff"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
