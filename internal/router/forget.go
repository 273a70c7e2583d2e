package router

import (
	"context"
	"net/netip"
	"strings"

	"doublenat/routeros"
)

// maxForgotten is how many connections are removed after one redirect was moved: a client of several
// ports has several, and one that is not removed expires by itself when its client is silent.
const maxForgotten = 1024

// forget has the router forget which clients were led to a host by a rule that leads elsewhere now. The
// kernel looks at a rule once for each connection: a program that asks from one socket for as long as it
// runs, as libtorrent does, would be led to the old host for ever, for each of its requests prolongs
// the connection (udp-stream-timeout, three minutes). Nobody tried that on a device.
func (r *Router) forget(ctx context.Context, d redirect) (forgotten int, err error) {
	target, err := netip.ParseAddr(d.target)
	if err != nil || d.protocol != "udp" {
		return 0, nil //nolint:nilerr // a range of targets is none of ours; TCP notices by itself
	}
	var ids []string
	_, err = r.each(ctx, routeros.Command{
		Path:       connectionPath + "/print",
		Properties: []string{".id", "protocol", "reply-src-address", "reply-src-port"},
		// The port is behind the address, or in a column of its own.
		Queries: []string{routeros.Equal("reply-src-address", target.String()+":"+d.port), routeros.Equal("reply-src-address", target.String()), "?#|"},
	}, func(row routeros.Row) error {
		from, ok := end(row, "reply-src")
		udp := row.Value("protocol") == "udp" || row.Value("protocol") == "17"
		if ok && udp && from.Addr() == target && strings.HasSuffix(from.String(), ":"+d.port) && len(ids) < maxForgotten {
			ids = append(ids, row.Value(".id"))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, id := range ids { // One that has expired by now would keep others in a list of ids from going.
		if _, err := r.do(ctx, routeros.Command{Path: connectionPath + "/remove", Args: []routeros.Attr{{Name: ".id", Value: id}}, Timeout: changeTimeout}); err == nil {
			forgotten++
		} else if !routeros.IsNoSuchItem(err) {
			return forgotten, err
		}
	}
	return forgotten, nil
}
