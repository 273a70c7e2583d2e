package igdtest

import (
	"encoding/xml"
	"fmt"
	"strings"

	"doublenat/igd"
)

// The paths of the box.
const (
	pathDescription = "/rootDesc.xml"
	pathControlIP   = "/ctl/IPConn"
	pathControlPPP  = "/ctl/PPPConn"
	pathSCPD        = "/scpd.xml"
)

// description returns the description of the device.
func (p Profile) description() string {
	version := max(p.Version, 1)
	var services strings.Builder
	service := func(name, path string, version int) {
		if p.Control != "" {
			path = p.Control
		}
		fmt.Fprintf(&services, "<service><serviceType>urn:schemas-upnp-org:service:%s:%d</serviceType>"+
			"<serviceId>urn:upnp-org:serviceId:%s1</serviceId><SCPDURL>%s</SCPDURL>"+
			"<controlURL>%s</controlURL><eventSubURL>/evt</eventSubURL></service>\r\n", name, version, name, pathSCPD, path)
	}
	if !p.PPP {
		service("WANIPConnection", pathControlIP, version)
	}
	if p.PPP || p.Both {
		service("WANPPPConnection", pathControlPPP, 1)
	}
	device := func(name, inner string) string {
		return fmt.Sprintf("<device><deviceType>urn:schemas-upnp-org:device:%s:%d</deviceType><friendlyName>Box &amp; Co</friendlyName>"+
			"<manufacturer>doublenat</manufacturer><modelName>igdtest</modelName><UDN>uuid:6a1b2c3d-0000-4000-8000-0000000000%02d</UDN>%s</device>",
			name, version, len(name), inner)
	}
	common := "<serviceList><service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>" +
		"<serviceId>urn:upnp-org:serviceId:WANCommonIFC1</serviceId><SCPDURL>" + pathSCPD + "</SCPDURL>" +
		"<controlURL>/ctl/CmnIfCfg</controlURL><eventSubURL>/evt</eventSubURL></service></serviceList>"
	connection := device("WANConnectionDevice", "<serviceList>"+services.String()+"</serviceList>")
	wan := device("WANDevice", common+"<deviceList>"+connection+"</deviceList>")
	return "<?xml version=\"1.0\"?>\r\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><specVersion><major>1</major><minor>0</minor></specVersion>" +
		device("InternetGatewayDevice", "<deviceList>"+wan+"</deviceList>") + "</root>\r\n"
}

// response returns the body of a success.
func (p Profile) response(c call, out []pair) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<u:%sResponse xmlns:u="%s">`, c.action, c.service)
	for _, a := range out {
		fmt.Fprintf(&b, "<%s>", a.name)
		// A Builder takes everything.
		_ = xml.EscapeText(&b, []byte(a.value))
		fmt.Fprintf(&b, "</%s>", a.name)
	}
	fmt.Fprintf(&b, "</u:%sResponse>", c.action)
	return p.envelope(b.String())
}

// fault returns the body of a failure.
func (p Profile) fault(code igd.Code) string {
	name := p.prefix()
	return p.envelope(fmt.Sprintf(`<%s:Fault><faultcode>%s:Client</faultcode><faultstring>UPnPError</faultstring><detail>`+
		`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode><errorDescription>%s</errorDescription></UPnPError>`+
		`</detail></%s:Fault>`, name, name, uint16(code), code, name))
}

func (p Profile) envelope(content string) string {
	name := p.prefix()
	return fmt.Sprintf("<?xml version=\"1.0\"?>\r\n<%s:Envelope xmlns:%s=\"http://schemas.xmlsoap.org/soap/envelope/\" "+
		"%s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><%s:Body>%s</%s:Body></%s:Envelope>", name, name, name, name, content, name, name)
}

func (p Profile) prefix() string {
	if p.Wire.Prefix != "" {
		return p.Wire.Prefix
	}
	return "s"
}
