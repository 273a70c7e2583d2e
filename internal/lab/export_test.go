package lab

import (
	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// Meddle has a test lay hands on gateway and router before the lab runs.
func (l *Lab) Meddle(f func(*natpmptest.Gateway, *routerostest.Router)) {
	l.meddle = func(w *world) {
		packets, _ := w.box.(*packetBox)
		f(packets.Gateway, w.router)
	}
}

// MeddleWithBox does so with one that speaks UPnP.
func (l *Lab) MeddleWithBox(f func(*igdtest.Gateway)) {
	l.meddle = func(w *world) {
		box, _ := w.box.(*upnpBox)
		f(box.Gateway)
	}
}

// MeddleWithRouter does so with the router alone, whatever the gateway is.
func (l *Lab) MeddleWithRouter(f func(*routerostest.Router)) {
	l.meddle = func(w *world) { f(w.router) }
}

// SharedPlaces has one address for all roles.
var SharedPlaces = sharedPlaces
