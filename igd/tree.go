package igd

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// A box that is asked for version 1 and shows version 2 is not known by clients that compare
// types as texts, and one that shows version 1 has no AddAnyPortMapping. So there are two
// root devices, each with its own description and names, as FRITZ!Boxes have them: who
// searches for version 1 finds the first, who searches for version 2 the second.

const (
	urnDevice  = "urn:schemas-upnp-org:device:"
	urnService = "urn:schemas-upnp-org:service:"
	targetAll  = "ssdp:all"
)

// The names of devices and services without their versions.
const (
	nameGateway    = "InternetGatewayDevice"
	nameWAN        = "WANDevice"
	nameConnection = "WANConnectionDevice"
	nameForwarding = "Layer3Forwarding"
	nameCommon     = "WANCommonInterfaceConfig"
	nameIP         = "WANIPConnection"
)

// tree is a root device with all below it.
type tree struct {
	version int
	devices []device // root, WAN, connection: each is in the one before
	config  uint32   // CONFIGID.UPNP.ORG
}

// device is one of a tree.
type device struct {
	name    string
	version int
	udn     string // "uuid:" and the UUID
	service served
}

// served is a service of a device. Each of ours has one.
type served struct {
	name, id string
	version  int
	actions  []action
	query    action // QueryStateVariable
}

// newTree returns the root device of a version, 1 or 2.
func newTree(version int, cfg ServerConfig) *tree {
	t := &tree{version: version}
	for _, d := range []device{
		{name: nameGateway, service: served{name: nameForwarding, id: "L3Forwarding1", version: 1, actions: forwardingActions()}},
		{name: nameWAN, service: served{name: nameCommon, id: "WANCommonIFC1", version: 1, actions: commonActions()}},
		{name: nameConnection, service: served{name: nameIP, id: "WANIPConn1", version: version, actions: connectionActions(version)}},
	} {
		d.version, d.service.query = version, queryAction(nil)
		if d.name == nameConnection {
			d.service.query = queryAction(connectionVariables())
		}
		d.udn = "uuid:" + derive(cfg.UUID, d.name, version)
		t.devices = append(t.devices, d)
	}
	t.config = configID(t.description(cfg, 0))
	return t
}

// derive returns a UUID of version 8 that belongs to a device (RFC 9562 §5.8).
func derive(from [16]byte, name string, version int) string {
	sum := sha256.Sum256(fmt.Appendf(from[:], "%s:%d", name, version))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// configID returns a number that changes with a description. Devices choose theirs below
// 2^24 (UDA 1.1 §1.2.2).
func configID(document []byte) uint32 {
	sum := sha256.Sum256(document)
	return uint32(sum[0])<<16 | uint32(sum[1])<<8 | uint32(sum[2])
}

// root returns the root device.
func (t *tree) root() *device { return &t.devices[0] }

// kind returns the device's type.
func (d *device) kind() string { return urnDevice + d.name + ":" + strconv.Itoa(d.version) }

// kind returns the service's type.
func (s *served) kind() string { return urnService + s.name + ":" + strconv.Itoa(s.version) }

// notice is what a device tells of itself or of a part: the target that finds it, and the
// unique name that goes with that (UDA 1.1 §1.2.2, §1.3.3).
type notice struct{ target, usn string }

// notices returns all that a tree tells.
func (t *tree) notices() []notice {
	all := []notice{{targetRoot, t.root().udn + "::" + targetRoot}}
	for i := range t.devices {
		d := &t.devices[i]
		all = append(all, notice{d.udn, d.udn}, notice{d.kind(), d.udn + "::" + d.kind()})
	}
	for i := range t.devices {
		d := &t.devices[i]
		all = append(all, notice{d.service.kind(), d.udn + "::" + d.service.kind()})
	}
	return all
}

// found is where a search leads.
type found struct {
	notice
	tree *tree
}

// finders has where each target leads: first while clients can have the very port that they
// ask for, then while they cannot.
type finders [2]map[string]found

// newFinders returns what is found of both trees. At first each version is found by searches
// for it, and the first one by those that name none, for all clients know it. Then all
// searches find the second one, which answers for both (UDA 1.1 §1.3.3): only its clients
// can be told of another port.
func newFinders(first, second *tree) finders {
	exact, other := make(map[string]found), make(map[string]found)
	for _, t := range []*tree{second, first} {
		for _, n := range t.notices() {
			exact[n.target] = found{n, t}
		}
	}
	for target, f := range exact {
		if other[target] = f; f.tree == second {
			continue
		}
		for i := range second.devices {
			d, old := &second.devices[i], &first.devices[i]
			if target == old.kind() || target == old.service.kind() || target == targetRoot {
				other[target] = found{notice{target, d.udn + "::" + target}, second}
				break
			}
		}
	}
	for _, all := range []map[string]found{exact, other} {
		f := all[targetRoot]
		kind := f.tree.root().kind()
		all[targetAll] = found{notice{kind, f.tree.root().udn + "::" + kind}, f.tree}
	}
	return finders{exact, other}
}

// token returns a text as a part of a product's name in HTTP (RFC 9110 §5.6.2).
func token(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune(".-+_", r):
			return r
		default:
			return -1
		}
	}, s[:min(len(s), briefly)])
}
