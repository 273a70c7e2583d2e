package natpmp_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/natpmp"
)

// unhex reads bytes in hexadecimal; blanks are for the reader.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatalf("bad test data %q: %v", s, err)
	}
	return b
}

// address5678 is a public-looking address.
func address5678() netip.Addr { return netip.AddrFrom4([4]byte{5, 6, 7, 8}) }

// TestRequestBytes has requests that are written and read as the same bytes.
func TestRequestBytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		wire string
		want natpmp.Request
	}{
		{name: "address", wire: "0000", want: natpmp.Request{Opcode: natpmp.OpExternalAddress}},
		{
			name: "map udp, big-endian",
			wire: "0001 0000 1234 5678 00010203",
			want: natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 0x1234, SuggestedExternalPort: 0x5678, Lifetime: 0x00010203},
		},
		{
			name: "map tcp, all bits",
			wire: "0002 0000 ffffffffffffffff",
			want: natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 65535, SuggestedExternalPort: 65535, Lifetime: 1<<32 - 1},
		},
		{
			name: "delete",
			wire: "0002 0000 1234 0000 00000000",
			want: natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 0x1234},
		},
		{name: "delete all", wire: "0001 0000 0000 0000 00000000", want: natpmp.Request{Opcode: natpmp.OpMapUDP}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wire := unhex(t, tt.wire)
			got, err := natpmp.ParseRequest(wire)
			if err != nil {
				t.Fatalf("ParseRequest: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			prefix := []byte("kept")
			if diff := cmp.Diff(append([]byte("kept"), wire...), got.Append(prefix)); diff != "" {
				t.Errorf("appended (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseRequest has requests that are read and never written like that.
func TestParseRequest(t *testing.T) {
	t.Parallel()
	mapUDP := natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 1, SuggestedExternalPort: 2, Lifetime: 3}
	tests := []struct {
		name string
		wire string
		want natpmp.Request
		err  error
	}{
		{name: "empty", wire: "", err: natpmp.ErrShort},
		{name: "one byte", wire: "00", err: natpmp.ErrShort},
		{name: "map of two bytes", wire: "0001", err: natpmp.ErrShort},
		{name: "map of eleven bytes", wire: "0001 0000 0001 0002 000000", err: natpmp.ErrShort},
		{name: "reserved field is ignored", wire: "0001 ffff 0001 0002 00000003", want: mapUDP},
		{name: "tail is ignored", wire: "0001 0000 0001 0002 00000003 ffff", want: mapUDP},
		{name: "address request with a tail", wire: "0000 0102030405060708090a", want: natpmp.Request{}},
		{name: "address response", wire: "0080 0000 00000001 05060708", err: natpmp.ErrIsResponse},
		{name: "response of unknown opcode", wire: "00ff", err: natpmp.ErrIsResponse},
		{name: "response of another version", wire: "0281 0000", err: natpmp.ErrIsResponse},
		{name: "version 1", wire: "0100", err: natpmp.ErrUnsupportedVersion},
		{name: "PCP announce", wire: "0200 0000" + strings.Repeat("00", 20), err: natpmp.ErrUnsupportedVersion},
		{name: "version 255", wire: "ff00 0000", err: natpmp.ErrUnsupportedVersion},
		{name: "opcode 3", wire: "0003", err: natpmp.ErrUnsupportedOpcode},
		{name: "opcode 127", wire: "007f 0000", err: natpmp.ErrUnsupportedOpcode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := natpmp.ParseRequest(unhex(t, tt.wire))
			if !errors.Is(err, tt.err) {
				t.Errorf("error = %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendRequestOfUnknownOpcode(t *testing.T) {
	t.Parallel()
	got := natpmp.Request{Opcode: 3, InternalPort: 1, Lifetime: 2}.Append(nil)
	if diff := cmp.Diff(unhex(t, "0003"), got); diff != "" {
		t.Errorf("appended (-want +got):\n%s", diff)
	}
}

// TestResponseBytes has responses that are written and read as the same bytes.
func TestResponseBytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		wire string
		want natpmp.Response
	}{
		{
			name: "address",
			wire: "0080 0000 00010203 05060708",
			want: natpmp.Response{Epoch: 0x00010203, Address: address5678()},
		},
		{
			name: "address failure",
			wire: "0080 0003 00000007 00000000",
			want: natpmp.Response{Result: natpmp.ResultNetworkFailure, Epoch: 7},
		},
		{
			name: "map udp",
			wire: "0081 0000 00000007 1234 5678 00000e10",
			want: natpmp.Response{Opcode: natpmp.OpMapUDP, Epoch: 7, InternalPort: 0x1234, ExternalPort: 0x5678, Lifetime: 3600},
		},
		{
			name: "map tcp failure",
			wire: "0082 0004 00000007 1234 0000 00000000",
			want: natpmp.Response{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultOutOfResources, Epoch: 7, InternalPort: 0x1234},
		},
		{
			name: "deleted",
			wire: "0082 0000 ffffffff 1234 0000 00000000",
			want: natpmp.Response{Opcode: natpmp.OpMapTCP, Epoch: 1<<32 - 1, InternalPort: 0x1234},
		},
		{
			name: "unknown opcode, header only",
			wire: "00ff 0005 00000007",
			want: natpmp.Response{Opcode: 127, Result: natpmp.ResultUnsupportedOpcode, Epoch: 7},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wire := unhex(t, tt.wire)
			got, err := natpmp.ParseResponse(wire)
			if err != nil {
				t.Fatalf("ParseResponse: %v", err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]byte("kept"), wire...), got.Append([]byte("kept"))); diff != "" {
				t.Errorf("appended (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseResponse has what a client must tolerate, and what it must not.
func TestParseResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		wire string
		want natpmp.Response
		err  error
	}{
		{name: "empty", wire: "", err: natpmp.ErrShort},
		{name: "seven bytes", wire: "0080 0003 000000", err: natpmp.ErrShort},
		{name: "address of eleven bytes", wire: "0080 0000 00000001 050607", err: natpmp.ErrShort},
		{name: "map of fifteen bytes", wire: "0081 0000 00000007 1234 5678 000e10", err: natpmp.ErrShort},
		{
			name: "map of seventeen bytes", wire: "0081 0000 00000007 1234 5678 00000e10 ff",
			want: natpmp.Response{Opcode: natpmp.OpMapUDP, Epoch: 7, InternalPort: 0x1234, ExternalPort: 0x5678, Lifetime: 3600},
		},
		{
			name: "map failure of eight bytes", wire: "0082 0002 00000007",
			want: natpmp.Response{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultNotAuthorized, Epoch: 7},
		},
		{
			name: "map failure that copies the request", wire: "0082 0002 00000007 1234 5678 00000e10",
			want: natpmp.Response{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultNotAuthorized, Epoch: 7, InternalPort: 0x1234},
		},
		{
			name: "address failure with garbage", wire: "0080 0003 00000007 01020304",
			want: natpmp.Response{Result: natpmp.ResultNetworkFailure, Epoch: 7},
		},
		{
			name: "version error before the erratum", wire: "0000 0001 00000007",
			want: natpmp.Response{Result: natpmp.ResultUnsupportedVersion, Epoch: 7},
		},
		{
			name: "version error after the erratum", wire: "0080 0001 00000007",
			want: natpmp.Response{Result: natpmp.ResultUnsupportedVersion, Epoch: 7},
		},
		{
			name: "code that nobody knows", wire: "0081 004d 00000007 1234 0000 00000000",
			want: natpmp.Response{Opcode: natpmp.OpMapUDP, Result: 77, Epoch: 7, InternalPort: 0x1234},
		},
		{name: "request", wire: "0001 0000 1234 5678 00000e10", err: natpmp.ErrIsRequest},
		{name: "other version", wire: "0280 0000 00000001 05060708", err: natpmp.ErrUnsupportedVersion},
		{name: "success of unknown opcode", wire: "0083 0000 00000001 05060708", err: natpmp.ErrUnsupportedOpcode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := natpmp.ParseResponse(unhex(t, tt.wire))
			if !errors.Is(err, tt.err) {
				t.Errorf("error = %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAppendResponse has what is zeroed on transmission.
func TestAppendResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   natpmp.Response
		want string
	}{
		{
			name: "address of a failure",
			in:   natpmp.Response{Result: natpmp.ResultNetworkFailure, Epoch: 1, Address: address5678()},
			want: "0080 0003 00000001 00000000",
		},
		{name: "no address", in: natpmp.Response{Epoch: 1}, want: "0080 0000 00000001 00000000"},
		{
			name: "IPv6 address", in: natpmp.Response{Epoch: 1, Address: netip.IPv6Loopback()},
			want: "0080 0000 00000001 00000000",
		},
		{
			name: "IPv4 in IPv6", in: natpmp.Response{Address: netip.AddrFrom16(address5678().As16())},
			want: "0080 0000 00000000 05060708",
		},
		{
			name: "port and lifetime of a failure",
			in: natpmp.Response{
				Opcode: natpmp.OpMapTCP, Result: natpmp.ResultNotAuthorized,
				InternalPort: 0x1234, ExternalPort: 0x5678, Lifetime: 3600,
			},
			want: "0082 0002 00000000 1234 0000 00000000",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(unhex(t, tt.want), tt.in.Append(nil)); diff != "" {
				t.Errorf("appended (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendVersionError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		op   natpmp.Opcode
		want string
	}{
		{op: 0, want: "0080 0001 00000003"},
		{op: 1, want: "0081 0001 00000003"},
		{op: 127, want: "00ff 0001 00000003"},
	}
	for _, tt := range tests {
		got := natpmp.AppendVersionError([]byte("kept"), tt.op, 3)
		if diff := cmp.Diff(append([]byte("kept"), unhex(t, tt.want)...), got); diff != "" {
			t.Errorf("opcode %d (-want +got):\n%s", tt.op, diff)
		}
	}
}

func TestAppendOpcodeError(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, request, want string }{
		{name: "header only", request: "0003", want: "0083 0005 00000003"},
		{name: "seven bytes", request: "007f ffffffffff", want: "00ff 0005 00000003"},
		{name: "eight bytes", request: "0003 0102 03040506", want: "0083 0005 03040506"},
		{name: "whole request", request: "0003 0102030405060708090a", want: "0083 0005 030405060708090a"},
		{name: "no request", request: "00", want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := unhex(t, tt.request)
			got := natpmp.AppendOpcodeError([]byte("kept"), request, 3)
			if diff := cmp.Diff(append([]byte("kept"), unhex(t, tt.want)...), got); diff != "" {
				t.Errorf("appended (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(unhex(t, tt.request), request); diff != "" {
				t.Errorf("the request was changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	got := []string{
		natpmp.OpExternalAddress.String(), natpmp.OpMapUDP.String(), natpmp.OpMapTCP.String(), natpmp.Opcode(9).String(),
		natpmp.ResultSuccess.String(), natpmp.ResultUnsupportedVersion.String(), natpmp.ResultNotAuthorized.String(),
		natpmp.ResultNetworkFailure.String(), natpmp.ResultOutOfResources.String(), natpmp.ResultUnsupportedOpcode.String(),
		natpmp.ResultCode(77).String(),
	}
	want := []string{
		"address", "udp", "tcp", "opcode 9",
		"success", "unsupported version", "not authorized",
		"network failure", "out of resources", "unsupported opcode",
		"result code 77",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
