package routerostest

import (
	"net"
	"slices"
	"strconv"
	"time"
)

// servicePath is the list of the router's own services.
const servicePath = "/ip/service"

// showConnections puts a row for each connection behind the services, RouterOS 7.19
// and later. It has the name of the service.
func showConnections(r *Router, t *table) {
	t.items = slices.DeleteFunc(t.items, func(it *item) bool { return it.is("dynamic") })
	for _, s := range r.sessionsLocked() {
		service := r.serviceLocked(s.service)
		if service == nil || s.forgotten() {
			continue
		}
		if s.row == "" {
			s.row = t.newID()
		}
		it := t.newItem(time.Time{}, Row{
			"name": s.service, "port": service.value("port"), "proto": "tcp", "dynamic": "true", "connection": "true",
			"local":  net.JoinHostPort(LANAddress, service.value("port")),
			"remote": net.JoinHostPort(s.remote.String(), strconv.Itoa(s.remotePort)),
		})
		it.id = s.row
		for _, name := range []string{"address", "certificate", "tls-version", "vrf", "max-sessions", "available-from"} {
			it.unset(name)
		}
		t.insert(it, -1)
	}
}
