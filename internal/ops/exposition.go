package ops

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// This file writes Prometheus' text format, version 0.0.4. The tests have it read by
// Prometheus' own parser and linter (docs/decisions/0018).

// textFormat is its content type.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// label is one label of a line.
type label struct{ name, value string }

// line is one value of a metric.
type line struct {
	suffix string // of the metric's name: "" or, in a histogram, one of three
	labels []label
	value  float64
}

// writeMetric writes one metric with all its lines.
func writeMetric(b *bytes.Buffer, name, kind, help string, lines []line) {
	if len(lines) == 0 {
		return
	}
	b.WriteString("# HELP " + name + " " + strings.NewReplacer("\\", `\\`, "\n", `\n`).Replace(help) + "\n")
	b.WriteString("# TYPE " + name + " " + kind + "\n")
	for _, l := range lines {
		b.WriteString(name + l.suffix)
		writeLabels(b, l.labels)
		b.WriteString(" " + number(l.value) + "\n")
	}
}

// writeLabels writes the labels in their braces, nothing if there are none.
func writeLabels(b *bytes.Buffer, labels []label) {
	escape := strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)
	for i, l := range labels {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		b.WriteString(separator + l.name + `="` + escape.Replace(l.value) + `"`)
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
}

// number writes a value as Prometheus reads it.
func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	default:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
}
