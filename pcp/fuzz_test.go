package pcp_test

import (
	"testing"

	"doublenat/pcp"
)

// FuzzParseRequest: what is read can be written, and reads the same again; what is refused
// is answered with a packet that a client can read.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"", "02", "02 81", "02 00 0000 00000000" + me, mapBytes, mapBytes + third + failure + filter,
		mapBytes + "ff 00 0005 0102030405 000000", "03 01 0000 00000e10 " + me,
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := pcp.ParseRequest(b)
		if err != nil {
			if r != (pcp.Request{}) {
				t.Errorf("error %v came with a request: %+v", err, r)
			}
			code, answer := pcp.ResultOf(err)
			if !answer {
				return
			}
			resp, err := pcp.ParseResponse(pcp.AppendError(nil, b, code, 30, 5))
			if err != nil || resp.Result != code || resp.Lifetime != 30 || resp.Epoch != 5 {
				t.Errorf("%x is refused with %v, which reads as %+v, %v", b, code, resp, err)
			}
			return
		}
		wire := r.Append(nil)
		r.Options.Filtered = min(r.Options.Filtered, pcp.MaxFilters)
		again, err := pcp.ParseRequest(wire)
		if err != nil || again != r {
			t.Errorf("%x reads as %+v, written and read again as %+v, %v", b, r, again, err)
		}
		if len(wire) > len(b) {
			t.Errorf("%x was written as %x", b, wire)
		}
	})
}

// FuzzParseResponse: what is read can be written, and reads the same again.
func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		"", "02 80 00 00 00000000 00000005 00000000 00000000 00000000", "00 80 00 01 00000005",
		"02 81 00 00 00000e10 00000005 00000000 00000000 00000000" + mapTail, "02 81 00 08 0000001e 00000005 00000000 00000000 00000000",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pcp.VersionOf(b)
		r, err := pcp.ParseResponse(b)
		if err != nil {
			if r != (pcp.Response{}) {
				t.Errorf("error %v came with a response: %+v", err, r)
			}
			return
		}
		again, err := pcp.ParseResponse(r.Append(nil))
		if r.Map == (pcp.Map{}) {
			again.Map = pcp.Map{} // the address of none is written as 0.0.0.0
		}
		if err != nil || again != r {
			t.Errorf("%x reads as %+v, written and read again as %+v, %v", b, r, again, err)
		}
	})
}
