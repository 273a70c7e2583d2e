package igd

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
)

// arg is an argument of an action. Their order is that of the action's definition.
type arg struct{ name, value string }

// request returns the body of a call.
func request(service, action string, args []arg) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?>` + "\r\n" +
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">` +
		`<s:Body><u:` + action + ` xmlns:u="` + service + `">`)
	for _, a := range args {
		b.WriteString("<" + a.name + ">")
		// A Buffer takes everything.
		_ = xml.EscapeText(&b, []byte(a.value))
		b.WriteString("</" + a.name + ">")
	}
	b.WriteString(`</u:` + action + `></s:Body></s:Envelope>` + "\r\n")
	return b.Bytes()
}

// ParseReply reads a device's reply to an action: the returned arguments, or an
// [*ActionError]. A fault is an error whatever the status, and only the action's own
// response is a success.
func ParseReply(action string, status int, body []byte) (map[string]string, error) {
	root, err := parseDocument(body)
	if err != nil && status != http.StatusOK {
		return nil, &StatusError{Status: status}
	}
	if err != nil {
		return nil, err
	}
	content := root.child("Body")
	if fault := content.child("Fault"); fault != nil {
		return nil, parseFault(action, fault)
	}
	response := content.child(action + "Response")
	switch {
	case status != http.StatusOK:
		return nil, &StatusError{Status: status}
	case response == nil:
		return nil, fmt.Errorf("%w: no response to %s in it", ErrNonsense, action)
	}
	out := make(map[string]string, len(response.children))
	for _, c := range response.children {
		out[c.name] = c.text
	}
	return out, nil
}

// parseFault reads a fault, which has its code somewhere below.
func parseFault(action string, fault *element) error {
	failed := &ActionError{Action: action}
	fault.each(func(e *element) {
		switch e.name {
		case "errorCode":
			if n, err := strconv.ParseUint(e.text, 10, 16); err == nil && failed.Code == 0 {
				failed.Code = Code(n)
			}
		case "errorDescription":
			failed.Description = brief(e.text)
		}
	})
	if failed.Code == 0 {
		failed.Code = CodeActionFailed
	}
	return failed
}
