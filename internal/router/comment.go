package router

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/nat"
)

// commentPrefix begins every comment of ours.
const commentPrefix = "doublenat:"

// maxInstance is the longest instance name. With it a comment has 143 characters
// at most; RouterOS is known to take 247.
const maxInstance = 32

// validInstance reports whether the name can stand in a comment: 1 to 32 letters,
// digits, hyphens and underscores of ASCII.
func validInstance(name string) bool {
	if name == "" || len(name) > maxInstance {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// owned is what a comment says: whose rule it is and all that there is to know
// about it. It is comparable.
type owned struct {
	instance string
	key      nat.Key
	inner    uint16
	external uint16
	lifetime time.Duration // whole seconds, 1 to 2³²−1
	by       nat.Way       // nat.IGD or none
	remote   nat.Remote
}

// ownedBy returns what the comment of the rule has to say.
func ownedBy(instance string, r nat.Rule) owned {
	return owned{instance: instance, key: r.Key, inner: r.InnerPort, external: r.ExternalPort, lifetime: r.Lifetime, by: r.By, remote: r.Remote}
}

// check reports why the rule could not be read back from its comment.
func (o owned) check() error {
	seconds := o.lifetime / time.Second
	switch {
	case !validInstance(o.instance):
		return fmt.Errorf("instance name %q: want 1 to %d letters, digits, - or _", o.instance, maxInstance)
	case o.key.Protocol != nat.UDP && o.key.Protocol != nat.TCP:
		return fmt.Errorf("rule for %s", o.key.Protocol)
	case !o.key.Client.Is4():
		return fmt.Errorf("rule for client %s: not an IPv4 address", o.key.Client)
	case o.inner == 0 || o.external == 0: // The client's port may be 0, see nat.Key.
		return fmt.Errorf("rule for %s with a port 0 (inner %d, external %d)", o.key, o.inner, o.external)
	case seconds < 1 || seconds > 1<<32-1 || o.lifetime%time.Second != 0:
		return fmt.Errorf("rule for %s with lifetime %s", o.key, o.lifetime)
	case o.by != 0 && o.by != nat.IGD:
		return fmt.Errorf("rule for %s asked for by %s", o.key, o.by)
	}
	if again, err := nat.ParseRemote(o.remote.String()); o.remote != (nat.Remote{}) && (err != nil || again != o.remote) {
		return fmt.Errorf("rule for %s from %+v", o.key, o.remote)
	}
	return nil
}

// fromRemote begins the word for who may send, of a mapping that is not open to everybody. By
// it a rule whose src-address somebody took away, or put there, is known as altered, also by
// the next start: else a mapping could open, or close, unnoticed. To editions before the one
// that knew it such a rule is somebody else's, which they leave alone.
const fromRemote = "from="

// heldByIGD ends the comment of a mapping that is held for a client of UPnP. Others have no
// such word: editions before the one that knew it read theirs.
const heldByIGD = " by=igd"

// String returns the comment, for example
//
//	doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600
func (o owned) String() string {
	b := make([]byte, 0, 152)
	b = append(b, commentPrefix...)
	b = append(b, o.instance...)
	b = append(b, ' ')
	b = append(b, o.key.String()...)
	b = append(b, " inner="...)
	b = strconv.AppendUint(b, uint64(o.inner), 10)
	b = append(b, " ext="...)
	b = strconv.AppendUint(b, uint64(o.external), 10)
	b = append(b, " life="...)
	b = strconv.AppendInt(b, int64(o.lifetime/time.Second), 10)
	if o.remote != (nat.Remote{}) {
		b = append(b, " "+fromRemote...)
		b = append(b, o.remote.String()...)
	}
	if o.by == nat.IGD {
		b = append(b, heldByIGD...)
	}
	return string(b)
}

// parseComment reads a comment that String wrote. Anything that String would
// not have written in exactly this way is somebody else's.
func parseComment(comment string) (owned, bool) {
	rest, ok := strings.CutPrefix(comment, commentPrefix)
	if !ok {
		return owned{}, false
	}
	rest, held := strings.CutSuffix(rest, heldByIGD)
	words := strings.SplitN(rest, " ", 8)
	if len(words) != 6 && len(words) != 7 {
		return owned{}, false
	}
	o := owned{instance: words[0]}
	if len(words) == 7 {
		remote, err := nat.ParseRemote(strings.TrimPrefix(words[6], fromRemote))
		if err != nil {
			return owned{}, false
		}
		o.remote = remote
	}
	if held {
		o.by = nat.IGD
	}
	switch words[1] {
	case "tcp":
		o.key.Protocol = nat.TCP
	case "udp":
		o.key.Protocol = nat.UDP
	}
	client, err := netip.ParseAddrPort(words[2])
	if err != nil {
		return owned{}, false
	}
	o.key.Client, o.key.InternalPort = client.Addr(), client.Port()
	o.inner = parseUint16(words[3], "inner=")
	o.external = parseUint16(words[4], "ext=")
	life, err := strconv.ParseUint(strings.TrimPrefix(words[5], "life="), 10, 32)
	if err != nil {
		return owned{}, false
	}
	o.lifetime = time.Duration(life) * time.Second
	return o, o.check() == nil && o.String() == comment
}

// parseUint16 reads "name=number" and returns 0 for anything else.
func parseUint16(word, name string) uint16 {
	n, err := strconv.ParseUint(strings.TrimPrefix(word, name), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// rule returns the rule that the comment describes, without what only the rest
// of the row can say.
func (o owned) rule() nat.Rule {
	return nat.Rule{Key: o.key, InnerPort: o.inner, ExternalPort: o.external, Lifetime: o.lifetime, By: o.by, Remote: o.remote}
}
