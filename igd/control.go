package igd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Call is a client's request for an action, as received.
type Call struct {
	// Service is the type of the service.
	Service string
	// Action is the action's name.
	Action string
	// Args are its arguments in order. A name may occur any number of times.
	Args []Arg
}

// Arg is an argument of a [Call].
type Arg struct{ Name, Value string }

// ParseCall reads a request for an action: the SOAPACTION header and the body (UDA 1.1
// §3.2.1). Both must name the same action.
func ParseCall(header string, body []byte) (Call, error) {
	service, name, ok := strings.Cut(strings.Trim(strings.TrimSpace(header), `"`), "#")
	if !ok || len(header) > maxText {
		return Call{}, fmt.Errorf("%w: no SOAPACTION", ErrNonsense)
	}
	root, err := parseDocument(body)
	if err != nil {
		return Call{}, err
	}
	content := root.child("Body")
	if root.name != "Envelope" || content == nil || len(content.children) != 1 || content.children[0].name != name {
		return Call{}, fmt.Errorf("%w: no call of %s in it", ErrNonsense, brief(name))
	}
	c := Call{Service: service, Action: name}
	for _, e := range content.children[0].children {
		if len(e.children) > 0 {
			return Call{}, fmt.Errorf("%w: argument is no text", ErrNonsense)
		}
		c.Args = append(c.Args, Arg{e.name, e.text})
	}
	return c, nil
}

// answerControl answers a request for an action.
func (s *Server) answerControl(w http.ResponseWriter, req *http.Request, from Arrival, t *tree, service *served) {
	asked, status, reason := readCall(w, req)
	if status != 0 {
		s.refuse(w, req, from, status, reason)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), workTime)
	defer cancel()
	i := &invocation{server: s, ctx: ctx, from: from, tree: t}
	out, err := i.carryOut(service, asked)
	if err == nil {
		s.count.successes.Add(1)
		s.cfg.Answered(from, i.action, 0)
		send(w, http.StatusOK, response(asked.Service, asked.Action, out))
		return
	}
	failed := failureOf(err)
	s.count.failures.Add(1)
	s.cfg.Answered(from, i.action, failed.Code)
	send(w, http.StatusInternalServerError, fault(failed.Code, failed.Description))
}

// readCall reads a request for an action, or says with which status it is refused, and why.
func readCall(w http.ResponseWriter, req *http.Request) (asked Call, status int, reason string) {
	switch {
	case !known(req.Method):
		return Call{}, http.StatusNotImplemented, "method is not known"
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		return Call{}, http.StatusMethodNotAllowed, "method is not allowed"
	case !isXML(req.Header.Get("Content-Type")):
		return Call{}, http.StatusUnsupportedMediaType, "body is no xml"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxCall))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return Call{}, http.StatusRequestEntityTooLarge, "body is too long"
	}
	if err == nil {
		asked, err = ParseCall(req.Header.Get("Soapaction"), body)
	}
	if err != nil {
		return Call{}, http.StatusBadRequest, "request cannot be read"
	}
	return asked, 0, ""
}

// invocation is an action that a client asks for.
type invocation struct {
	server  *Server
	ctx     context.Context //nolint:containedctx // it lives as long as the request
	from    Arrival
	tree    *tree
	version int    // of the service as it was asked for, which may be less than the service's
	action  string // "" if there is none of the name
	args    map[string]string
}

// carryOut does what is asked for and returns the arguments of the response.
func (i *invocation) carryOut(service *served, asked Call) (out []arg, err error) {
	a, err := i.match(service, asked)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			i.server.panicked(i.ctx, i.from, i.action, p)
			out, err = nil, failure(CodeActionFailed)
		}
	}()
	return a.do(i)
}

// match returns the action that is asked for, and takes in its version and arguments.
func (i *invocation) match(service *served, asked Call) (*action, error) {
	if asked.Service == urnQuery && asked.Action == actionQuery {
		i.version, i.action = service.version, actionQuery
		return &service.query, i.takeIn(&service.query, asked.Args)
	}
	for version := 1; version <= service.version; version++ {
		// A service does what its earlier versions do, as they do it (UDA 1.1 §2.8).
		if asked.Service == urnService+service.name+":"+strconv.Itoa(version) {
			i.version = version
		}
	}
	a := i.server.actionOf(service.name, i.version, asked.Action)
	if a == nil && i.version > 0 && asked.Action == "AddAnyPortMapping" {
		// Programs search for version 1 alone, as upnpc does, and call it all the same: most
		// boxes answer with version 2 then.
		a = i.server.actionOf(service.name, 2, asked.Action)
	}
	switch {
	case a != nil:
		i.action = a.name
		return a, i.takeIn(a, asked.Args)
	case i.version > 0 && optional(asked.Action):
		return nil, failure(CodeNotImplemented)
	default:
		return nil, failure(CodeInvalidAction)
	}
}

// actionOf returns an action of a version of a service, nil if it has none of the name.
func (s *Server) actionOf(service string, version int, name string) *action {
	for _, t := range s.trees {
		for i := range t.devices {
			of := &t.devices[i].service
			if of.name != service || of.version != version {
				continue
			}
			for n := range of.actions {
				if of.actions[n].name == name {
					return &of.actions[n]
				}
			}
			return nil
		}
	}
	return nil
}

// optional says whether the standards have an action that they do not ask for, and that is
// not here (WANCommonInterfaceConfig:1 §2.4, WANIPConnection:1 §2.4).
func optional(name string) bool {
	switch name {
	case "SetEnabledForInternet", "GetEnabledForInternet", "GetWANAccessProvider", "GetMaximumActiveConnections",
		"GetTotalBytesSent", "GetTotalBytesReceived", "GetTotalPacketsSent", "GetTotalPacketsReceived", "GetActiveConnection",
		"RequestTermination", "SetAutoDisconnectTime", "SetIdleDisconnectTime", "SetWarnDisconnectDelay",
		"GetAutoDisconnectTime", "GetIdleDisconnectTime", "GetWarnDisconnectDelay":
		return true
	default:
		return false
	}
}

// takeIn checks that each argument is there once, no other is, and none is too long
// (UDA 1.1 §3.2.2: 402).
func (i *invocation) takeIn(a *action, args []Arg) error {
	if len(args) != len(a.in) {
		return failure(CodeInvalidArgs)
	}
	i.args = make(map[string]string, len(args))
	for _, arg := range args {
		i.args[arg.Name] = arg.Value
	}
	for _, p := range a.in {
		if value, ok := i.args[p.name]; !ok || len(value) > longestText {
			return failure(CodeInvalidArgs)
		}
	}
	return nil
}

// failure returns the error of a code.
func failure(code Code) error { return &ActionError{Code: code} }

// refuse returns what an action does that is not for clients.
func refuse(code Code) func(*invocation) ([]arg, error) {
	return func(*invocation) ([]arg, error) { return nil, failure(code) }
}

// failureOf returns what is answered to an error.
func failureOf(err error) ActionError {
	failed, ok := errors.AsType[*ActionError](err)
	if !ok || failed.Code == 0 {
		return ActionError{Code: CodeActionFailed}
	}
	return *failed
}

// response returns the body of a success (UDA 1.1 §3.2.2).
func response(service, action string, out []arg) []byte {
	return envelope(func(d *document) {
		d.raw(`<u:` + action + `Response xmlns:u="` + service + `">`)
		for _, a := range out {
			if a.name == portListing {
				// miniupnpc takes it as it is, and any ]]> in its texts is escaped in them.
				d.raw("<" + a.name + "><![CDATA[" + a.value + "]]></" + a.name + ">")
				continue
			}
			d.add(a.name, a.value)
		}
		d.close("u:" + action + "Response")
	})
}

// fault returns the body of a failure (UDA 1.1 §3.2.2).
func fault(code Code, description string) []byte {
	if description = brief(description); description == "" {
		description = code.String()
	}
	return envelope(func(d *document) {
		d.raw(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>` +
			`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0">`)
		d.add("errorCode", unsigned(uint64(code)))
		d.add("errorDescription", description)
		d.raw(`</UPnPError></detail></s:Fault>`)
	})
}

// envelope returns a SOAP envelope.
func envelope(content func(*document)) []byte {
	var d document
	d.raw(header + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>`)
	content(&d)
	d.raw(`</s:Body></s:Envelope>` + "\r\n")
	return d.buf.Bytes()
}
