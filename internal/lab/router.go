package lab

import (
	"errors"
	"strconv"

	"doublenat/igd"
	"doublenat/routeros/routerostest"
)

// newRouter makes a router with the lab's tunnel, and with what clients of UPnP need if there
// are any.
func newRouter(p Places, upnp bool) (*routerostest.Router, error) {
	r, err := routerostest.New(routerostest.Config{})
	if err != nil {
		return nil, err
	}
	route, hasRoute := r.Find("/ip/route", "dst-address", routerostest.GatewayAddress+"/32")
	address, hasAddress := r.Find("/ip/address", "interface", routerostest.TunnelInterface)
	if !hasRoute || !hasAddress {
		return nil, errors.New("lab: the test router has no tunnel")
	}
	tunnel := p.self().String()
	err = errors.Join(
		r.Set("/ip/route", route[".id"], routerostest.Row{"dst-address": p.known().Addr().String() + "/32"}),
		r.Set("/ip/address", address[".id"], routerostest.Row{"address": tunnel + "/32", "network": tunnel}),
	)
	if upnp {
		err = errors.Join(err, onBridge(r, p.Listen.Port()))
	}
	return r, err
}

// onBridge does to the router what "doublenat setup --bridge" prints for UPnP, at a port: the
// container is a port of the clients' bridge, so that searches by multicast would reach it.
func onBridge(r *routerostest.Router, port uint16) error {
	const container = "veth1"
	address, hasAddress := r.Find("/ip/address", "interface", container)
	route, hasRoute := r.Find("/ip/route", "gateway", container)
	settings, hasSettings := r.Find("/ip/settings", "send-redirects", "true")
	redirect, hasRedirect := r.Find("/ip/firewall/nat", "to-addresses", routerostest.ContainerAddress)
	if !hasAddress || !hasRoute || !hasSettings || !hasRedirect {
		return errors.New("lab: the test router has no container")
	}
	_, err := r.Add("/interface/bridge/port", routerostest.Row{"bridge": routerostest.LANInterface, "interface": container})
	err = errors.Join(err,
		r.Set("/ip/address", address[".id"], routerostest.Row{"interface": routerostest.LANInterface}),
		r.Set("/ip/route", route[".id"], routerostest.Row{"gateway": routerostest.LANInterface}), // the connected one
		r.Set("/ip/settings", settings[".id"], routerostest.Row{"send-redirects": "false"}))
	for protocol, at := range map[string]uint16{"udp": igd.SearchPort, "tcp": port} {
		_, errAdd := r.Add("/ip/firewall/nat", routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": protocol, "dst-port": strconv.Itoa(int(at)), "in-interface-list": "LAN",
			"dst-address-type": "local", "to-addresses": routerostest.ContainerAddress, "comment": "UPnP to doublenat", "place-before": redirect[".id"],
		})
		err = errors.Join(err, errAdd)
	}
	return err
}
