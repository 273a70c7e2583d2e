package routerostest

import (
	"strings"
	"time"
)

// packagePath is the list of the router's software.
const packagePath = "/system/package"

// packageMenus are software, files, the restart and the device mode.
func packageMenus(b behavior) []*menu {
	packages := newMenu(packagePath, "name version build-time size scheduled", "available disabled").
		with("enable disable").starting("scheduled= disabled=false").
		doing("uninstall", schedule("scheduled for uninstall")).doing("unschedule", schedule(""))
	packages.named = true
	if b.appliesPackages {
		packages.also("apply-changes", args(nil, "ignore-missing")).doing("apply-changes", func(r *Router, _ *table, _ *command) outcome {
			r.installLocked()
			return restart(r, nil, nil)
		})
	}
	files := newMenu("/file", "name type size creation-time", "").with("remove")
	files.named = true
	files.printing("", argsIn(span{since: v715, before: v721}, nil, "list"), argsIn(span{since: v718}, nil, "path recursive relative"),
		argsIn(span{since: v719}, nil, "show-hidden"))
	system := newMenu("/system", "", "").doing("reboot", restart).doing("shutdown", restart)
	mode := newMenu("/system/device-mode", "mode bandwidth-test container email fetch flagged flagging-enabled hotspot ipsec l2tp pptp "+
		"proxy romon scheduler smb sniffer socks traffic-gen zerotier install-any-version partitions routerboard", "").single().
		printing("", argsIn(span{since: v717}, nil, "config")).doing("update", updateMode)
	mode.span = span{since: v701}
	mode.also("update", loopArguments(), args(nil, "activation-timeout bandwidth-test container email fetch flagged flagging-enabled hotspot ipsec l2tp mode "+
		"pptp proxy romon scheduler smb sniffer socks traffic-gen zerotier"), argsIn(span{since: v717}, nil, "install-any-version partitions routerboard"),
		argsIn(span{since: v717, before: v7215}, nil, "authorized-public-key-hash"))
	return []*menu{packages, files, system, mode}
}

// schedule notes what becomes of packages at the next restart, or when changes are applied.
func schedule(what string) doFunc {
	return func(r *Router, t *table, c *command) outcome {
		items, refused := r.targetsLocked(t, c)
		if refused != nil {
			return failed(refused)
		}
		for _, it := range items {
			it.set(t.menu.order, "scheduled", what)
		}
		return done()
	}
}

// Upload puts a file on the router, as its administrator does before it installs a
// package ("container-7.22-arm64.npk") or makes a container ("doublenat.tar").
func (r *Router) Upload(name string) error {
	_, err := r.Add("/file", Row{"name": name, "type": fileType(name), "size": "1"})
	return err
}

// fileType returns the type that a print shows.
func fileType(name string) string {
	if strings.HasSuffix(name, ".npk") {
		return "package"
	}
	return "file"
}

// installLocked installs the packages among the files, and removes what was scheduled for it.
func (r *Router) installLocked() {
	files, packages := r.tables["/file"], r.tables[packagePath]
	for _, it := range append([]*item(nil), files.items...) {
		if it.value("type") != "package" {
			continue
		}
		name, _, _ := strings.Cut(it.value("name"), "-")
		r.droppedLocked(files, it)
		if packages.find(name) < 0 {
			packages.insert(packages.newItem(time.Now(), Row{"name": name, "version": r.release}), -1)
		}
	}
	for _, it := range append([]*item(nil), packages.items...) {
		if it.value("scheduled") != "" {
			r.droppedLocked(packages, it)
		}
	}
}

// restart restarts the router once the command is done. A restart alone installs
// packages up to RouterOS 7.17; later versions forget what was scheduled.
func restart(r *Router, _ *table, c *command) outcome {
	switch {
	case c == nil: // installed already
	case !r.behavior.appliesPackages:
		r.installLocked()
	default:
		for _, it := range append([]*item(nil), r.tables["/file"].items...) {
			if it.value("type") == "package" {
				r.droppedLocked(r.tables["/file"], it)
			}
		}
		for _, it := range r.tables[packagePath].items {
			it.set(r.tables[packagePath].menu.order, "scheduled", "")
		}
	}
	o := done()
	o.restart = true
	return o
}

// rebootTime is how long a restart takes that a client asked for.
const rebootTime = 30 * time.Second

// updateMode asks for another device mode, which the button then confirms; see
// [Router.PressButton].
func updateMode(r *Router, t *table, c *command) outcome {
	for _, a := range c.args {
		if _, known := t.menu.order[a.name]; known {
			r.modeAsked = append(r.modeAsked, a)
		}
	}
	return done()
}

// PressButton confirms the device mode that was asked for, and restarts the router.
func (r *Router) PressButton() {
	r.mu.Lock()
	t := r.tables["/system/device-mode"]
	for _, a := range r.modeAsked {
		t.items[0].set(t.menu.order, a.name, t.menu.normalize(a.name, a.value))
	}
	r.modeAsked = nil
	r.mu.Unlock()
	r.Reboot(Reboot{Down: rebootTime})
}
