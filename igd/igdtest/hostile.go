package igdtest

import (
	"bytes"
	"strings"
)

// Giant returns a document of some megabytes.
func Giant() []byte {
	return []byte("<root><device><friendlyName>" + strings.Repeat("x", 4<<20) + "</friendlyName></device></root>")
}

// Deep returns a small document of very many elements in each other.
func Deep() []byte { return []byte(strings.Repeat("<a>", 20_000)) }

// Wide returns a small document of very many elements side by side.
func Wide() []byte { return []byte("<root>" + strings.Repeat("<a/>", 20_000) + "</root>") }

// Entities returns a document that grows to gigabytes for whoever believes its DTD.
func Entities() []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE root [<!ENTITY a0 "boom">`)
	for i := range 20 {
		prev, next := string(rune('a'+i)), string(rune('b'+i))
		b.WriteString(`<!ENTITY ` + next + `0 "` + strings.Repeat("&"+prev+"0;", 10) + `">`)
	}
	b.WriteString(`]><root><device><friendlyName>&u0;</friendlyName></device></root>`)
	return b.Bytes()
}
