package walk_test

import (
	"strconv"
	"strings"
	"testing"

	"doublenat/internal/walk"
	"doublenat/routeros"
)

// home is a router with a LAN, a provider on ether1, a tunnel wg1 with the table
// vpn, and doublenat on a veth: a line is a path and "name=value" words.
const home = `
/interface name=ether1 type=ether
/interface name=bridge type=bridge
/interface name=wg1 type=wg
/interface name=veth1 type=veth
/interface/list name=WAN
/interface/list name=LAN
/interface/list/member list=LAN interface=bridge
/interface/list/member list=WAN interface=ether1
/interface/list/member list=WAN interface=wg1
/ip/address address=192.168.88.1/24 interface=bridge
/ip/address address=198.51.100.2/30 interface=ether1
/ip/address address=10.2.0.2/32 interface=wg1
/ip/address address=172.30.254.1/30 interface=veth1
/ip/route dst-address=0.0.0.0/0 gateway=198.51.100.1 immediate-gw=198.51.100.1%ether1 distance=1 active=true
/ip/route dst-address=10.2.0.1/32 gateway=wg1 immediate-gw=wg1 distance=1 active=true
/ip/route dst-address=0.0.0.0/0 gateway=wg1 immediate-gw=wg1 distance=1 active=true routing-table=vpn
/ip/route dst-address=192.168.88.0/24 gateway=bridge immediate-gw=bridge distance=0 active=true
/ip/route dst-address=198.51.100.0/30 gateway=ether1 immediate-gw=ether1 distance=0 active=true
/ip/route dst-address=172.30.254.0/30 gateway=veth1 immediate-gw=veth1 distance=0 active=true
/ip/firewall/nat chain=srcnat action=masquerade out-interface-list=WAN
/ip/firewall/nat chain=dstnat action=dst-nat to-addresses=172.30.254.2 protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local
/ip/firewall/filter chain=input action=accept connection-state=established,related,untracked
/ip/firewall/filter chain=input action=drop in-interface-list=!LAN
/ip/firewall/filter chain=forward action=accept connection-state=established,related,untracked
/ip/firewall/filter chain=forward action=drop connection-state=invalid
/ip/firewall/filter chain=forward action=drop connection-state=new connection-nat-state=!dstnat in-interface-list=WAN
`

// tables reads lines of a path and "name=value" words. Ids are given by table: *1 and so on.
func tables(t *testing.T, texts ...string) *walk.Tables {
	t.Helper()
	w := &walk.Tables{Rows: make(map[string][]routeros.Row)}
	for _, text := range texts {
		for line := range strings.Lines(text) {
			path, words, _ := strings.Cut(strings.TrimSpace(line), " ")
			if path == "" {
				continue
			}
			row := routeros.Row{{Name: ".id", Value: "*" + strconv.Itoa(len(w.Rows[path])+1)}}
			w.Rows[path] = append(w.Rows[path], append(row, rowOf(words)...))
		}
	}
	return w
}

// first puts the rows of a text before those of their tables.
func first(t *testing.T, w *walk.Tables, text string) *walk.Tables {
	t.Helper()
	for path, rows := range tables(t, text).Rows {
		for i := range rows {
			rows[i][0].Value = "*F" + strconv.Itoa(i+1)
		}
		w.Rows[path] = append(rows, w.Rows[path]...)
	}
	return w
}

// rowOf reads "name=value" words.
func rowOf(words string) routeros.Row {
	var row routeros.Row
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row = append(row, routeros.Attr{Name: name, Value: value})
	}
	return row
}
