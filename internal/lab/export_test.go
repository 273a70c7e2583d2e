package lab

import (
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// AdjustProfile changes how the gateway behaves, before the lab runs.
func (l *Lab) AdjustProfile(change func(*natpmptest.Profile)) { change(&l.profile) }

// Meddle has a test lay hands on gateway and router before the lab runs.
func (l *Lab) Meddle(f func(*natpmptest.Gateway, *routerostest.Router)) {
	l.meddle = func(w *world) { f(w.gateway, w.router) }
}

// SharedPlaces has one address for all roles.
var SharedPlaces = sharedPlaces
