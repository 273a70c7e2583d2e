package realm_test

import (
	"net/netip"
	"testing"

	"doublenat/internal/realm"
)

// Both ends of each range of RFC 6890 and their neighbors.
func TestRealm(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddr("10.2.0.1")
	for a, want := range map[string]struct{ public, tellable bool }{
		"0.0.0.0":         {false, false},
		"0.255.255.255":   {false, false},
		"1.0.0.0":         {true, true},
		"9.255.255.255":   {true, true},
		"10.0.0.0":        {false, true},
		"10.255.255.255":  {false, true},
		"11.0.0.0":        {true, true},
		"100.63.255.255":  {true, true},
		"100.64.0.0":      {false, true},
		"100.127.255.255": {false, true},
		"100.128.0.0":     {true, true},
		"126.255.255.255": {true, true},
		"127.0.0.0":       {false, false},
		"127.255.255.255": {false, false},
		"128.0.0.0":       {true, true},
		"169.253.255.255": {true, true},
		"169.254.0.0":     {false, false},
		"169.254.255.255": {false, false},
		"169.255.0.0":     {true, true},
		"172.15.255.255":  {true, true},
		"172.16.0.0":      {false, true},
		"172.31.255.255":  {false, true},
		"172.32.0.0":      {true, true},
		"192.167.255.255": {true, true},
		"192.168.0.0":     {false, true},
		"192.168.255.255": {false, true},
		"192.169.0.0":     {true, true},
		"223.255.255.255": {true, true},
		"224.0.0.0":       {false, false},
		"239.255.255.255": {false, false},
		"240.0.0.0":       {false, false},
		"255.255.255.255": {false, false},
		// A router's name may lead to these; a gateway cannot say them.
		"2606:4700::1":    {true, false},
		"fd00::1":         {false, false},
		"fe80::1":         {false, false},
		"ff02::1":         {false, false},
		"::1":             {false, false},
		"::":              {false, false},
		"::ffff:1.0.0.0":  {true, false},
		"::ffff:10.0.0.1": {false, false},
	} {
		addr := netip.MustParseAddr(a)
		if got := realm.Public(addr); got != want.public {
			t.Errorf("Public(%v) = %v", a, got)
		}
		if got := realm.Tellable(addr, gateway); got != want.tellable {
			t.Errorf("Tellable(%v) = %v", a, got)
		}
	}
	var none netip.Addr
	if realm.Public(none) || realm.Tellable(none, gateway) {
		t.Error("no address is one")
	}
	if lab := netip.MustParseAddr("127.10.2.1"); !realm.Tellable(netip.MustParseAddr("127.44.0.1"), lab) || realm.Public(lab) {
		t.Error("a lab's gateway cannot tell an address of loopback, or that counts as public")
	}
}
