package walk

// maxRuns bounds in how many ways a walk is tried that depends on what is not known.
const maxRuns = 512

// oracle decides what is not known. The first run answers no to everything; each
// further run changes one answer, until all ways were tried.
type oracle struct {
	script []bool          // the answers of this run, in the order of the questions
	spots  []Spot          // what was asked about
	asked  map[string]bool // answers of this run by question
	next   int
}

// ask returns the answer to a question.
func (o *oracle) ask(question string, spot Spot) bool {
	if answer, known := o.asked[question]; known {
		return answer
	}
	if o.next == len(o.script) {
		o.script, o.spots = append(o.script, false), append(o.spots, spot)
	}
	answer := o.script[o.next]
	o.spots[o.next] = spot
	o.next++
	o.asked[question] = answer
	return answer
}

// begin starts a run.
func (o *oracle) begin() { o.next, o.asked = 0, make(map[string]bool) }

// another prepares the next run, and returns the question whose answer it changes.
// Ok is false if all ways were tried.
func (o *oracle) another() (spot Spot, ok bool) {
	o.script = o.script[:o.next]
	for i := len(o.script) - 1; i >= 0; i-- {
		if !o.script[i] {
			o.script[i] = true
			o.script, o.spots = o.script[:i+1], o.spots[:i+1]
			return o.spots[i], true
		}
	}
	return Spot{}, false
}
