package daemon

import (
	"doublenat/internal/config"
	"doublenat/routeros"
)

// RouterAPI returns how the daemon reaches the router's API, for commands that look
// at the same router. The caller may complete it.
func RouterAPI(cfg config.Config) routeros.Config {
	return routeros.Config{
		Address: cfg.Router.String(), TLS: tlsFor(cfg), User: cfg.RouterUser, Password: cfg.RouterPassword,
	}
}
