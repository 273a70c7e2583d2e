package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"doublenat/igd"
	"doublenat/internal/remedy"
)

// search searches for gateways as a program of UPnP does, and has doublenat carry out two
// actions that change nothing.
type search struct{ asClient }

// The kinds of trouble that a search shows.
const (
	// KindNotFound is a doublenat that no search finds.
	KindNotFound remedy.Kind = "not found"
	// KindOtherGateway is another device that calls itself a gateway.
	KindOtherGateway remedy.Kind = "other gateway"
	// KindLocation is a doublenat that names another place than the clients' gateway.
	KindLocation remedy.Kind = "location"
	// KindAction is a doublenat that is found and does not do what it is asked.
	KindAction remedy.Kind = "action failed"
)

const (
	// searchTime is how long a search waits for answers.
	searchTime = 2500 * time.Millisecond
	// ownModel is what doublenat calls its model in its description.
	ownModel = "doublenat"
)

// Name implements Probe.
func (search) Name() string { return "search" }

// Run implements Probe.
func (search) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if v.cfg.Ways == nil || v.cfg.Ways.UPnP == 0 {
		return nil, nil
	}
	all, err := v.searchAll(ctx)
	if err != nil {
		//nolint:nilerr // it is told as a finding
		return []Finding{bad(Fail, KindNotFound, "searching for UPnP gateways: "+err.Error(), "run the check on a host in the LAN, or where doublenat runs")}, nil
	}
	var found []Finding
	var ours []*seen
	for _, d := range v.describe(ctx, all) {
		switch {
		case d.err != nil:
			found = append(found, v.undescribed(d))
		case d.device.Model == ownModel:
			ours = alike(ours, d)
		default:
			found = append(found, v.otherGateway(d))
		}
	}
	if len(ours) == 0 {
		return append(found, v.notFound(len(found) > 0)), nil
	}
	for _, d := range ours {
		found = append(found, v.tried(ctx, d)...)
	}
	return found, nil
}

// alike adds a device. One at an address that is there already is the same, in the other
// version of the standard.
func alike(all []*seen, d *seen) []*seen {
	i := slices.IndexFunc(all, func(other *seen) bool { return other.at.Addr() == d.at.Addr() })
	if i < 0 {
		return append(all, d)
	}
	for _, way := range d.ways {
		if !slices.Contains(all[i].ways, way) {
			all[i].ways = append(all[i].ways, way)
		}
	}
	return all
}

// seen is a gateway that a search found.
type seen struct {
	at     igd.Location
	ways   []string // by what it was found: "multicast", "a search at the router"
	device igd.Device
	client *igd.Client
	err    error // it has no description that can be used
}

// searchAll searches by multicast and at the door, side by side, and returns what was found,
// one for each place. The error is that of both.
func (v *visit) searchAll(ctx context.Context) ([]*seen, error) {
	door := netip.AddrPortFrom(v.door().Addr(), igd.SearchPort)
	searches := []struct {
		name    string
		to      netip.AddrPort
		answers []igd.Answer
		err     error
	}{
		{name: "multicast", to: igd.MulticastAddress()},
		{name: fmt.Sprintf("a search at %v", door.Addr()), to: door},
	}
	var searching sync.WaitGroup
	for i := range searches {
		s := &searches[i]
		searching.Go(func() {
			conn, err := v.cfg.Ways.Search(ctx)
			if err != nil {
				s.err = err
				return
			}
			defer conn.Close()
			s.answers, s.err = igd.Gather(ctx, conn, s.to, min(searchTime, v.cfg.Patience))
		})
	}
	searching.Wait()
	var all []*seen
	for _, s := range searches {
		for _, a := range s.answers {
			i := slices.IndexFunc(all, func(d *seen) bool { return d.at == a.Location })
			if i < 0 {
				i = len(all)
				all = append(all, &seen{at: a.Location})
			}
			if !slices.Contains(all[i].ways, s.name) {
				all[i].ways = append(all[i].ways, s.name)
			}
		}
	}
	slices.SortFunc(all, func(a, b *seen) int { return strings.Compare(a.at.String(), b.at.String()) })
	if searches[0].err != nil && searches[1].err != nil {
		return nil, searches[1].err
	}
	return all, nil
}

// describe reads the descriptions, side by side. What is no gateway, but a television or a
// printer that answers everybody, is left out.
func (v *visit) describe(ctx context.Context, all []*seen) []*seen {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	var reading sync.WaitGroup
	for _, d := range all {
		reading.Go(func() {
			d.client, d.err = v.controlPoint(v.within(d.at))
			if d.err == nil {
				d.device, d.err = d.client.Discover(ctx)
				d.client.Close()
			}
		})
	}
	reading.Wait()
	return slices.DeleteFunc(all, func(d *seen) bool { return isNoGateway(d.err) })
}

// within returns where a description is read that clients find at a place. On doublenat's own
// host a place at the router that leads here is doublenat's own: no router leads a packet
// back to where it came from.
func (v *visit) within(at igd.Location) igd.Location {
	if !v.atHome() || v.net == nil || !v.net.Owns(at.Addr()) {
		return at
	}
	u, err := url.Parse(at.String())
	if err != nil || u.Port() != port(v.cfg.Ways.UPnP) {
		return at
	}
	u.Host = netip.AddrPortFrom(v.cfg.Ways.Home.Addr(), v.cfg.Ways.UPnP).String()
	if own, err := igd.ParseLocation(u.String(), v.cfg.Ways.Home.Addr()); err == nil {
		return own
	}
	return at
}

// controlPoint asks the device whose description is there.
func (v *visit) controlPoint(at igd.Location) (*igd.Client, error) {
	return igd.NewClient(igd.Config{
		Description: at.String(), Connections: 1,
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return v.cfg.Ways.Dial(ctx, "tcp", to) },
	})
}

// tried is what came of asking doublenat.
func (v *visit) tried(ctx context.Context, d *seen) []Finding {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	defer d.client.Close()
	status, err := d.client.Status(ctx)
	var external netip.Addr
	if err == nil {
		external, err = d.client.ExternalAddress(ctx)
	}
	how := strings.Join(d.ways, " and ")
	if err != nil {
		return []Finding{bad(Fail, KindAction, fmt.Sprintf("doublenat is found by %s at %v, and does not do what it is asked: %v", how, d.at, err),
			"see what doublenat logs with LOG_LEVEL=DEBUG")}
	}
	found := []Finding{good("doublenat is found by %s at %v: %s, public address %v", how, d.at, status, external)}
	if v.net != nil && !v.atHome() && !v.net.Owns(d.at.Addr()) {
		found = append(found, bad(Warn, KindLocation,
			fmt.Sprintf("doublenat's description is at %v, which is not this host's gateway: programs that compare both refuse it", d.at.Addr()),
			fmt.Sprintf("redirect TCP %d of the router to doublenat, as doublenat setup prints it", v.cfg.Ways.UPnP)))
	}
	return found
}

// undescribed is the finding for a place where no description is to be had. Anybody may answer
// a search, so that it says no more.
func (v *visit) undescribed(d *seen) Finding {
	text := "switch UPnP off in that device if it is no gateway of yours"
	if d.at.Addr() == v.target || v.net != nil && v.net.Owns(d.at.Addr()) {
		text = fmt.Sprintf("let the router's forward chain accept TCP %d to doublenat, and redirect it: doublenat setup prints the rules", v.cfg.Ways.UPnP)
	}
	return bad(Warn, KindLocation, fmt.Sprintf("who answers a search by %s names %v, where no description can be read: %v", strings.Join(d.ways, " and "), d.at, d.err), text)
}

// otherGateway is the finding for a gateway that is not doublenat.
func (v *visit) otherGateway(d *seen) Finding {
	name := strings.TrimSpace(d.device.Manufacturer + " " + d.device.Model)
	if name == "" {
		name = d.device.Name
	}
	text := "switch UPnP off in it, for programs choose any of those that they find: one that asks it gets a port that ends there"
	var commands []remedy.Command
	if v.net != nil && v.net.Owns(d.at.Addr()) {
		text, commands = "it is this router: disable its own UPnP", []remedy.Command{remedy.NewCommand("/ip/upnp/set", "enabled", "no")}
	}
	return bad(Warn, KindOtherGateway, fmt.Sprintf("another gateway answers searches by %s: %q at %v", strings.Join(d.ways, " and "), printable(name), d.at.Addr()), text, commands...)
}

// notFound is the finding for a doublenat that no search finds. Others says that there are
// other devices, so that searches as such work.
func (v *visit) notFound(others bool) Finding {
	what := "nobody answers a search for UPnP gateways, by multicast or at " + v.door().Addr().String()
	if others {
		what = "doublenat does not answer a search, by multicast or at " + v.door().Addr().String()
	}
	text := "start doublenat with UPNP=on, let ALLOWED_CLIENTS have this host, and give nothing else UDP 1900 on its host"
	if !v.atHome() {
		text += "; let the router hand UDP 1900 on, or make the container a port of the clients' bridge: doublenat setup prints both"
	}
	return bad(Fail, KindNotFound, what, text)
}

// isNoGateway reports whether a description is there and tells of no gateway.
func isNoGateway(err error) bool {
	return errors.Is(err, igd.ErrNoService)
}
