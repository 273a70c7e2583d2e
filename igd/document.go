package igd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxBody is how many bytes of a document are read. Descriptions of real boxes have 3 to 20 kB.
	maxBody = 128 << 10
	// maxDepth is how deep its elements lie in each other: 10 in a description.
	maxDepth = 24
	// maxElements is how many elements it has, with their texts: 200 in a long description.
	maxElements = 4096
	// maxText is how many bytes of an element's text are kept.
	maxText = 2048
)

// element is an XML element without its namespace: boxes choose prefixes and
// namespaces as they like, and the names are unambiguous.
type element struct {
	name     string
	text     string
	children []*element
}

// parseDocument returns the root element. It is lenient where real boxes sin: with
// white space, NULs and other bytes around the document, bare ampersands, encodings
// that are not what they are called. It refuses a DTD, and so all entities.
func parseDocument(body []byte) (*element, error) {
	if len(body) > maxBody {
		return nil, ErrTooLarge
	}
	body = bytes.TrimLeft(body, "\ufeff \t\r\n\x00")
	dec := xml.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(body, []byte("?"))))
	dec.Strict = false
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var (
		top   = &element{}
		path  = []*element{top}
		count int
	)
	for {
		token, err := dec.RawToken()
		if err != nil {
			return nil, unreadable(err)
		}
		here := path[len(path)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if count++; len(path) > maxDepth || count > maxElements {
				return nil, ErrTooLarge
			}
			e := &element{name: t.Name.Local}
			here.children = append(here.children, e)
			path = append(path, e)
		case xml.CharData:
			here.text += string(t[:min(len(t), maxText-len(here.text))])
		case xml.EndElement:
			if len(path) == 1 || here.name != t.Name.Local {
				return nil, fmt.Errorf("%w: elements overlap", ErrNonsense)
			}
			here.text = strings.TrimSpace(here.text)
			if path = path[:len(path)-1]; len(path) == 1 {
				return top.children[0], nil // What follows is of no interest.
			}
		case xml.Directive:
			return nil, ErrDoctype
		}
	}
}

// unreadable returns the error of a document that ends too soon or is none.
func unreadable(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends too soon", ErrNonsense)
	}
	return fmt.Errorf("%w: %s", ErrNonsense, brief(err.Error()))
}

// child returns the first child of a name, nil if there is none.
func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// value returns the text of the first child of a name.
func (e *element) value(name string) string {
	if c := e.child(name); c != nil {
		return c.text
	}
	return ""
}

// each calls f for the element and all below it, in the document's order.
func (e *element) each(f func(*element)) {
	f(e)
	for _, c := range e.children {
		c.each(f)
	}
}
