package check

import (
	"encoding/json"
	"fmt"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
)

// Level is how bad a finding is.
type Level uint8

// The levels, from good to bad.
const (
	// OK is as it has to be.
	OK Level = iota
	// Warn works, or will for some, and should be looked at.
	Warn
	// Fail keeps ports from being reachable, or opens what must be closed.
	Fail
)

// String returns "ok", "warn" or "fail".
func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Warn:
		return "warn"
	case Fail:
		return "fail"
	default:
		return fmt.Sprintf("level(%d)", uint8(l))
	}
}

// MarshalText returns what String returns.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that was looked at.
type Finding struct {
	// Probe is the name of who looked, "redirect" for example.
	Probe string
	// Level says how bad it is.
	Level Level
	// Seen is what was seen, a phrase.
	Seen string
	// Advice says what to do. Its Hop is always set; the rest is empty when Level is OK.
	Advice remedy.Advice
	// Meanwhile says how the ports that are open fare, where nothing is heard from a hop.
	Meanwhile string
}

// MarshalJSON returns the finding as one flat object.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Probe    string           `json:"probe"`
		Hop      string           `json:"hop"`
		Level    Level            `json:"level"`
		Seen     string           `json:"seen"`
		Kind     remedy.Kind      `json:"kind,omitempty"`
		Remedy   string           `json:"remedy,omitempty"`
		Commands []remedy.Command `json:"commands,omitempty"`

		Meanwhile string `json:"meanwhile,omitempty"`
	}{f.Probe, f.Advice.Hop.String(), f.Level, f.Seen, f.Advice.Kind, f.Advice.Text, f.Advice.Commands, f.Meanwhile})
}

// Report is everything that was found, in the order in which it was looked at.
type Report struct {
	// Level is the worst level of the findings.
	Level Level `json:"level"`
	// Findings are never empty after a run.
	Findings []Finding `json:"findings"`
}

// add takes a finding into the report.
func (r *Report) add(f Finding) {
	r.Findings = append(r.Findings, f)
	r.Level = max(r.Level, f.Level)
}

// good is a finding that all is well.
func good(format string, args ...any) Finding {
	return Finding{Seen: fmt.Sprintf(format, args...)}
}

// bad is a finding with its remedy. The hop is filled in by the doctor.
func bad(level Level, kind remedy.Kind, seen, text string, commands ...remedy.Command) Finding {
	return Finding{Level: level, Seen: seen, Advice: remedy.Advice{Kind: kind, Text: text, Commands: commands}}
}

// KindOther is an error that nobody knows a remedy for.
const KindOther remedy.Kind = "other"

// failed is the finding for an error of a hop.
func failed(hop nat.Hop, err error) Finding {
	advice, ok := remedy.For(err)
	if !ok {
		advice = remedy.Advice{Hop: hop, Kind: KindOther, Text: "see what doublenat logs with LOG_LEVEL=DEBUG"}
	}
	return Finding{Level: Fail, Seen: err.Error(), Advice: advice}
}
