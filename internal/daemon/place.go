package daemon

import (
	"doublenat/internal/config"
	"doublenat/internal/router"
)

// Place says where the gateway of a configuration may be, for the search for its interface.
func Place(cfg config.Config) router.Place {
	switch {
	case cfg.GatewayKind.Tunneled():
		return router.PlaceTunnel
	case cfg.FindsGateway():
		return router.PlaceDefaultRoute
	default:
		return router.PlaceAnywhere
	}
}
