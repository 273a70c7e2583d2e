package upnp

import (
	"context"
	"net/netip"

	"doublenat/igd"
)

// Ask asks a device once for its public address, for a look from outside of a [Gateway]. The
// error knows its remedy.
func Ask(ctx context.Context, at igd.Config) (netip.Addr, error) {
	client, err := igd.NewClient(at)
	if err != nil {
		return netip.Addr{}, err
	}
	defer client.Close()
	addr, err := client.ExternalAddress(ctx)
	return addr, advised(err)
}
