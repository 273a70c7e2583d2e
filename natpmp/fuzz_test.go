package natpmp_test

import (
	"bytes"
	"testing"

	"doublenat/natpmp"
)

// FuzzParseRequest: what is read can be written, and reads the same again.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"", "00", "0000", "0001 0000 1234 5678 00000e10", "0002 ffff 0000 0000 00000000 ff",
		"0003", "0080", "0200", "0281",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := natpmp.ParseRequest(b)
		if err != nil {
			if r != (natpmp.Request{}) {
				t.Errorf("error %v came with a request: %+v", err, r)
			}
			return
		}
		wire := r.Append(nil)
		again, err := natpmp.ParseRequest(wire)
		if err != nil || again != r {
			t.Errorf("%x reads as %+v, written and read again as %+v, %v", b, r, again, err)
		}
		if len(wire) > len(b) || !bytes.Equal(wire[:2], b[:2]) {
			t.Errorf("%x was written as %x", b, wire)
		}
	})
}

// FuzzParseResponse: what is read can be written, and reads the same again.
func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		"", "0080", "0080 0000 00000001 05060708", "0000 0001 00000007", "0081 0002 00000001",
		"0082 0000 00000001 1234 5678 00000e10", "0082 0004 00000001 1234 5678 00000e10 ff", "00ff 0005 00000001",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := natpmp.ParseResponse(b)
		if err != nil {
			if r != (natpmp.Response{}) {
				t.Errorf("error %v came with a response: %+v", err, r)
			}
			return
		}
		again, err := natpmp.ParseResponse(r.Append(nil))
		if err != nil || again != r {
			t.Errorf("%x reads as %+v, written and read again as %+v, %v", b, r, again, err)
		}
	})
}
