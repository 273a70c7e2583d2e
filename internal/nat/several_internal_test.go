package nat

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestSeveral(t *testing.T) {
	t.Parallel()
	if err := several("rules not removed", []error{nil, nil}); err != nil {
		t.Errorf("no failure is %v", err)
	}
	if err := several("rules not removed", []error{nil, io.EOF}); err == nil || err.Error() != "1 of 2 rules not removed: EOF" || !errors.Is(err, io.EOF) {
		t.Errorf("one failure is %v", err)
	}
	var errs []error
	for i := range 1000 {
		errs = append(errs, fmt.Errorf("reason %c of port %d", 'a'+i%7, i))
	}
	if err := several("leases not released", errs); err == nil || err.Error() != "1000 of 1000 leases not released: reason a of port 0; reason b of port 1; reason c of port 2; …" {
		t.Errorf("many failures are %v", err)
	}
}

// Reasons that differ in a number only are one.
func TestSeveralDropsNumbers(t *testing.T) {
	t.Parallel()
	var errs []error
	for _, text := range []string{"port 0", "port 5", "port 9", "port 40961", "port /", "port :"} {
		errs = append(errs, errors.New(text))
	}
	if err := several("leases not released", errs); err == nil || err.Error() != "6 of 6 leases not released: port 0; port /; port :; …" {
		t.Errorf("got %v", err)
	}
}
