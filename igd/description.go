package igd

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxServices is how many WAN connections of a device are looked at.
const maxServices = 8

// Description is the useful part of what a device says about itself.
type Description struct {
	// Name, Manufacturer and Model are the device's own texts, shortened.
	Name, Manufacturer, Model string
	// Services are its WAN connections, the most capable first. There is at least one.
	Services []Service
}

// Service is a WAN connection of a device. It is comparable.
type Service struct {
	// PPP is set for WANPPPConnection; otherwise it is WANIPConnection.
	PPP bool
	// Version is the service's version: 1 or 2.
	Version int
	// Control is the URL for its actions.
	Control Location
}

// Type returns the service's type, as actions contain it.
func (s Service) Type() string {
	name := "WANIPConnection"
	if s.PPP {
		name = "WANPPPConnection"
	}
	return "urn:schemas-upnp-org:service:" + name + ":" + strconv.Itoa(s.Version)
}

// String returns the service in a short form, as "WANIPConnection:1".
func (s Service) String() string {
	return strings.TrimPrefix(s.Type(), "urn:schemas-upnp-org:service:")
}

// ParseDescription reads the description found at the given location. It leaves out
// services on another host than that; if there are no others, the error is [ErrElsewhere].
func ParseDescription(body []byte, at Location) (Description, error) {
	root, err := parseDocument(body)
	if err != nil {
		return Description{}, err
	}
	device := root.child("device")
	if device == nil {
		return Description{}, fmt.Errorf("%w: no device in it", ErrNonsense)
	}
	d := Description{
		Name: brief(device.value("friendlyName")), Manufacturer: brief(device.value("manufacturer")),
		Model: brief(device.value("modelName")),
	}
	base := at
	if l, err := ParseLocation(root.value("URLBase"), at.Addr()); err == nil {
		base = l
	}
	var elsewhere error
	device.each(func(e *element) {
		service, ok := parseServiceType(e.value("serviceType"))
		if !ok || e.name != "service" || len(d.Services) == maxServices {
			return
		}
		if service.Control, err = base.Resolve(e.value("controlURL")); err != nil {
			elsewhere = err
			return
		}
		d.Services = append(d.Services, service)
	})
	switch {
	case len(d.Services) > 0:
		slices.SortStableFunc(d.Services, Service.rank)
		return d, nil
	case elsewhere != nil:
		return Description{}, fmt.Errorf("control URL: %w", elsewhere)
	default:
		return Description{}, ErrNoService
	}
}

// rank orders services: WANIPConnection:2 and :1, then WANPPPConnection.
func (s Service) rank(other Service) int {
	if s.PPP != other.PPP {
		if s.PPP {
			return 1
		}
		return -1
	}
	return cmp.Compare(other.Version, s.Version)
}

// parseServiceType reads the type of a service. False is one that maps no ports. A
// version that is not known yet is spoken to as the highest known one, for later
// versions include the earlier ones (UDA 1.1 §2.8).
func parseServiceType(s string) (Service, bool) {
	kind, ok := strings.CutPrefix(s, "urn:schemas-upnp-org:service:")
	name, version, found := strings.Cut(kind, ":")
	n, err := strconv.Atoi(version)
	if !ok || !found || err != nil || n < 1 {
		return Service{}, false
	}
	switch name {
	case "WANIPConnection":
		return Service{Version: min(n, 2)}, true
	case "WANPPPConnection":
		return Service{PPP: true, Version: 1}, true
	default:
		return Service{}, false
	}
}

// Location is a URL on a device: http, an IPv4 address and nothing fancy. It is
// comparable; the zero value is none.
type Location struct {
	host netip.AddrPort
	path string // with the query, escaped; begins with a slash
}

// maxURL is how long a URL of a device may be.
const maxURL = 1024

// ParseLocation reads a URL, which must point to the gateway, or anywhere if that is the
// zero Addr. Host names are refused, because nobody knows where they will point tomorrow.
func ParseLocation(s string, gateway netip.Addr) (Location, error) {
	if s == "" || len(s) > maxURL {
		return Location{}, fmt.Errorf("%w: no URL, or a very long one", ErrNonsense)
	}
	u, err := url.Parse(s)
	if err != nil {
		return Location{}, fmt.Errorf("%w: URL %s", ErrNonsense, brief(s))
	}
	return locate(u, gateway)
}

// locate checks a URL.
func locate(u *url.URL, gateway netip.Addr) (Location, error) {
	if u.Scheme != "http" || u.User != nil || u.Opaque != "" {
		return Location{}, fmt.Errorf("%w: URL %s is not plain http", ErrNonsense, brief(u.Redacted()))
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.Is4() || gateway.IsValid() && addr != gateway {
		return Location{}, fmt.Errorf("%w: %s", ErrElsewhere, brief(u.Host))
	}
	port := uint64(80)
	if p := u.Port(); p != "" {
		if port, err = strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
			return Location{}, fmt.Errorf("%w: port of %s", ErrNonsense, brief(u.Host))
		}
	}
	path := u.RequestURI()
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n\t") {
		return Location{}, fmt.Errorf("%w: path of a URL", ErrNonsense)
	}
	return Location{host: netip.AddrPortFrom(addr, uint16(port)), path: path}, nil
}

// Resolve returns the target of a URL in a document from this location. It must be on the
// same host, but may have another port.
func (l Location) Resolve(ref string) (Location, error) {
	if ref == "" || len(ref) > maxURL {
		return Location{}, fmt.Errorf("%w: no URL, or a very long one", ErrNonsense)
	}
	base, err := url.Parse(l.String())
	if err != nil {
		return Location{}, fmt.Errorf("%w: base of a URL", ErrNonsense)
	}
	u, err := base.Parse(ref)
	if err != nil {
		return Location{}, fmt.Errorf("%w: URL %s", ErrNonsense, brief(ref))
	}
	return locate(u, l.Addr())
}

// Addr returns the host's address.
func (l Location) Addr() netip.Addr { return l.host.Addr() }

// IsValid reports whether the location is set.
func (l Location) IsValid() bool { return l.host.IsValid() }

// String returns the URL.
func (l Location) String() string {
	if !l.IsValid() {
		return ""
	}
	return "http://" + l.host.String() + l.path
}
