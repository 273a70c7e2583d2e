package lab

import "doublenat/natpmp/natpmptest"

// AdjustProfile changes how the gateway behaves, before the lab runs.
func (l *Lab) AdjustProfile(change func(*natpmptest.Profile)) { change(&l.profile) }

// SharedPlaces has one address for all roles.
var SharedPlaces = sharedPlaces
