package router

import (
	"context"
	"strings"

	"doublenat/routeros"
)

// lockTable is the table in which the lock of several doublenats is. Who stands by has to change it
// to become active, and its entries are nobody's rules: it is outside of the fence.
const lockTable = "/ip/firewall/address-list/"

// fences reports whether a command has to pass [Config.Fence].
func (r *Router) fences(cmd routeros.Command) bool {
	if r.cfg.Fence == nil || strings.HasPrefix(cmd.Path, lockTable) {
		return false
	}
	verb := cmd.Path[strings.LastIndexByte(cmd.Path, '/')+1:]
	switch verb {
	case "print", "getall", "get", "find", "check", "listen", "count-only":
		return false
	default:
		return true // what is not known may change something
	}
}

// mayChange reports whether the router may change something of its own accord now.
func (r *Router) mayChange(ctx context.Context) bool {
	if r.cfg.ReadOnly || r.cfg.Fence == nil {
		return !r.cfg.ReadOnly
	}
	_, done, err := r.cfg.Fence(ctx)
	if err != nil {
		return false
	}
	done()
	return true
}
