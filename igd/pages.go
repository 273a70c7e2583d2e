package igd

import (
	"bytes"
	"encoding/xml"
	"runtime"
	"slices"
	"strconv"
)

// page is a document that is shown.
type page []byte

// path returns where the description of a tree is.
func (t *tree) path() string { return "/igd" + strconv.Itoa(t.version) + ".xml" }

// scpdPath and controlPath return where a service of a tree is described and asked.
func (t *tree) scpdPath(s *served) string {
	return "/igd" + strconv.Itoa(t.version) + "/" + s.id + ".xml"
}

func (t *tree) controlPath(s *served) string { return "/igd" + strconv.Itoa(t.version) + "/" + s.id }

// pages returns all documents by their paths.
func pages(trees []*tree, cfg ServerConfig) map[string]page {
	all := make(map[string]page)
	for _, t := range trees {
		all[t.path()] = t.description(cfg, t.config)
		for i := range t.devices {
			s := &t.devices[i].service
			all[t.scpdPath(s)] = s.scpd(t.version)
		}
	}
	return all
}

// document is XML that is being written.
type document struct{ buf bytes.Buffer }

// raw writes what is XML already. A Buffer takes everything.
func (d *document) raw(s string) { _, _ = d.buf.WriteString(s) }

// open writes the beginning of an element, close its end.
func (d *document) open(name string) { d.raw("<" + name + ">") }

func (d *document) close(name string) { d.raw("</" + name + ">") }

// add writes an element with a text.
func (d *document) add(name, text string) {
	d.open(name)
	_ = xml.EscapeText(&d.buf, []byte(text))
	d.close(name)
}

// header begins documents.
const header = `<?xml version="1.0"?>` + "\r\n"

// spec writes which architecture a document follows: IGD:1 is of UDA 1.0, IGD:2 of 1.1.
func (d *document) spec(version int) {
	d.open("specVersion")
	d.add("major", "1")
	d.add("minor", strconv.Itoa(version-1))
	d.close("specVersion")
}

// description returns the description of the root device (UDA 1.1 §2.3). All its URLs are
// relative, so that it is the same wherever it is found.
func (t *tree) description(cfg ServerConfig, config uint32) page {
	var d document
	attribute := ""
	if t.version > 1 {
		attribute = ` configId="` + unsigned(uint64(config)) + `"`
	}
	d.raw(header + `<root xmlns="urn:schemas-upnp-org:device-1-0"` + attribute + `>`)
	d.spec(t.version)
	for i := range t.devices {
		t.describe(&d, &t.devices[i], cfg)
		if i < len(t.devices)-1 {
			d.open("deviceList")
		}
	}
	d.close("device")
	for range len(t.devices) - 1 {
		d.close("deviceList")
		d.close("device")
	}
	d.close("root")
	return d.buf.Bytes()
}

// describe writes a device without its end, for others come in it.
func (t *tree) describe(d *document, of *device, cfg ServerConfig) {
	s := &of.service
	d.open("device")
	d.add("deviceType", of.kind())
	d.add("friendlyName", cfg.Name)
	d.add("manufacturer", product)
	d.add("modelDescription", "Port mappings on a router and at the gateway before it")
	d.add("modelName", product)
	d.add("modelNumber", cfg.Release)
	d.add("UDN", of.udn)
	d.open("serviceList")
	d.open("service")
	d.add("serviceType", s.kind())
	d.add("serviceId", "urn:upnp-org:serviceId:"+s.id)
	d.add("SCPDURL", t.scpdPath(s))
	d.add("controlURL", t.controlPath(s))
	// Nothing is evented, for which UDA 1.1 §2.3 has an empty element. There are clients that
	// take only a URL, and all can do without events where there is one.
	d.add("eventSubURL", t.controlPath(s)+"/events")
	d.close("service")
	d.close("serviceList")
}

// scpd returns the description of the service (UDA 1.1 §2.5): what it knows, and nothing else.
func (s *served) scpd(version int) page {
	var d document
	d.raw(header + `<scpd xmlns="urn:schemas-upnp-org:service-1-0">`)
	d.spec(version)
	d.open("actionList")
	for _, a := range s.actions {
		d.open("action")
		d.add("name", a.name)
		if len(a.in)+len(a.out) > 0 {
			d.open("argumentList")
			d.params("in", a.in)
			d.params("out", a.out)
			d.close("argumentList")
		}
		d.close("action")
	}
	d.close("actionList")
	d.open("serviceStateTable")
	for _, v := range s.variables() {
		d.variable(v)
	}
	d.close("serviceStateTable")
	d.close("scpd")
	return d.buf.Bytes()
}

// params writes arguments of a direction.
func (d *document) params(direction string, all []param) {
	for _, p := range all {
		d.open("argument")
		d.add("name", p.name)
		d.add("direction", direction)
		d.add("relatedStateVariable", p.variable.name)
		d.close("argument")
	}
}

// variable writes a state variable. None sends events.
func (d *document) variable(v variable) {
	d.raw(`<stateVariable sendEvents="no">`)
	d.add("name", v.name)
	d.add("dataType", v.kind)
	if len(v.values) > 0 {
		d.open("allowedValueList")
		for _, value := range v.values {
			d.add("allowedValue", value)
		}
		d.close("allowedValueList")
	}
	if v.most != "" {
		d.open("allowedValueRange")
		d.add("minimum", v.least)
		d.add("maximum", v.most)
		d.close("allowedValueRange")
	}
	d.close("stateVariable")
}

// variables returns the state variables of the service's arguments, each once.
func (s *served) variables() []variable {
	var all []variable
	seen := make(map[string]bool)
	for _, a := range s.actions {
		for _, p := range append(slices.Clip(a.in), a.out...) {
			if !seen[p.variable.name] {
				seen[p.variable.name] = true
				all = append(all, p.variable)
			}
		}
	}
	return all
}

// agent is the SERVER header: system, architecture, product (UDA 1.1 §1.2.2).
func (s *Server) agent() string {
	return runtime.GOOS + "/" + runtime.GOARCH + " UPnP/1.1 " + product + "/" + s.cfg.Release
}
