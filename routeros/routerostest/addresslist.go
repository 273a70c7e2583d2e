package routerostest

import (
	"slices"
	"strconv"
	"time"
)

const addressListPath = "/ip/firewall/address-list"

// Lists says how entries of address lists behave that have a timeout. The zero value is what
// the manual says and what live programs rely on; everything else is a router that nobody has
// seen, and that nobody has ruled out.
type Lists struct {
	// Twice lets the same address into the same list a second time.
	Twice bool
	// SetsGone answers a set of an entry that is gone as if it had worked.
	SetsGone bool
	// Timeouts says what becomes of a timeout.
	Timeouts Timeouts
	// Reboot says what becomes of the entries when the router is restarted.
	Reboot Survival
	// ReuseIDs gives the next entry the id of the one that went last.
	ReuseIDs bool
	// Early is how much sooner an entry goes than it was told to.
	Early time.Duration
	// Lasting entries do not go when their time is over.
	Lasting bool
	// Mute takes /listen and never says anything.
	Mute bool
	// NoListen does not have /listen.
	NoListen bool
}

// Timeouts is what becomes of the timeout of an entry.
type Timeouts uint8

const (
	// TimeoutsWork is what the manual says.
	TimeoutsWork Timeouts = iota
	// TimeoutsFixed refuses to change an entry that has one.
	TimeoutsFixed
	// TimeoutsIgnored takes a change of it, and nothing happens.
	TimeoutsIgnored
	// TimeoutsStored makes an entry that stays for ever.
	TimeoutsStored
)

// Survival is what becomes of entries with a timeout in a reboot.
type Survival uint8

const (
	// SurvivesNot is what the manual says: they are in memory.
	SurvivesNot Survival = iota
	// SurvivesTimed keeps them, and their time goes on.
	SurvivesTimed
	// SurvivesStatic keeps them without their timeout.
	SurvivesStatic
)

// addressLists are lists of addresses. An entry with a timeout is dynamic and goes
// by itself.
func addressLists() *menu {
	m := newMenu(addressListPath, "list address creation-time timeout", "dynamic disabled comment").
		with("add set remove enable disable comment").starting("dynamic=false disabled=false").only("list address", "already have such entry").
		taking(require(args(checkName, "list address")), flags(span{}, "disabled dynamic"), args(checkDuration, "timeout"), args(nil, "comment"))
	m.volatile = true
	m.added = func(r *Router, it *item) {
		it.set(m.order, "creation-time", time.Now().UTC().Format(time.DateTime))
		r.lastingLocked(it)
	}
	m.changed = (*Router).lastingLocked
	return m
}

// lastingLocked sets the end of an item that was given a time to live.
func (r *Router) lastingLocked(it *item) {
	t := r.tables[addressListPath]
	d, ok := parseDuration(it.value("timeout"))
	switch {
	case !ok || d <= 0:
	case r.config.Lists.Timeouts == TimeoutsStored:
		it.unset("timeout")
	case r.config.Lists.Timeouts == TimeoutsIgnored && !it.expires.IsZero():
	default:
		it.expires, t.restless = time.Now().Add(d), true
		it.set(t.menu.order, "dynamic", strconv.FormatBool(true))
	}
}

// refuseSet refuses to change an entry with a timeout where that cannot be.
func (l Lists) refuseSet(t *table, it *item, props Row) traps {
	if _, given := props["timeout"]; !given || t.menu.path != addressListPath || l.Timeouts != TimeoutsFixed || it.expires.IsZero() {
		return nil
	}
	return refuse(noCategory, "failure: cannot change dynamic")
}

// earlier is how much sooner than told the items of a table go.
func (r *Router) earlier(t *table) time.Duration {
	switch {
	case t.menu.path != addressListPath:
		return 0
	case r.config.Lists.Lasting:
		return -24 * time.Hour
	default:
		return r.config.Lists.Early
	}
}

// stored reports whether an item is written to the flash: what lives for a time only is not,
// as the manual says of address lists.
func (t *table) stored(it *item) bool { return t.menu.path != addressListPath || it.expires.IsZero() }

// forgetTimedLocked is a reboot for the entries that are in memory.
func (r *Router) forgetTimedLocked() {
	t := r.tables[addressListPath]
	if r.config.Lists.Reboot == SurvivesTimed {
		return
	}
	if r.config.Lists.Reboot == SurvivesStatic {
		for _, it := range t.items {
			if !it.expires.IsZero() {
				it.expires = time.Time{}
				it.unset("timeout")
				it.set(t.menu.order, "dynamic", strconv.FormatBool(false))
			}
		}
		return
	}
	t.items = slices.DeleteFunc(t.items, func(it *item) bool { return !it.expires.IsZero() })
}

// listenVariant refuses, or takes, a listen of address lists as the variant has it.
func (r *Router) listenVariant(t *table, c *command) (o outcome, special bool) {
	switch {
	case c.action != "listen" || t.menu.path != addressListPath:
		return outcome{}, false
	case r.config.Lists.NoListen:
		return failed(r.behavior.refuseCommand(c.action)), true
	case r.config.Lists.Mute:
		return outcome{}, true
	default:
		return outcome{}, false
	}
}
