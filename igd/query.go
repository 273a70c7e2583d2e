package igd

import "strconv"

// QueryStateVariable is how control points of UDA 1.0 (§3.3) ask for a state variable, those
// of Windows among them. UDA 1.1 has it no more, and miniupnpd answers it to this day.
const (
	urnQuery    = "urn:schemas-upnp-org:control-1-0"
	actionQuery = "QueryStateVariable"
)

// queryAction returns the action of a service that has such variables.
func queryAction(variables map[string]func(*invocation) string) action {
	return action{
		name: actionQuery, in: []param{{name: "varName"}}, out: []param{{name: "return"}},
		do: func(i *invocation) ([]arg, error) {
			value, ok := variables[i.args["varName"]]
			if !ok {
				return nil, failure(CodeInvalidVar)
			}
			return []arg{{"return", value(i)}}, nil
		},
	}
}

// connectionVariables has what a client may want to know of WANIPConnection without an
// argument of an action.
func connectionVariables() map[string]func(*invocation) string {
	return map[string]func(*invocation) string{
		"ConnectionStatus":           func(i *invocation) string { return i.server.cfg.Handler.Connection().Status.String() },
		"ExternalIPAddress":          (*invocation).address,
		"PossibleConnectionTypes":    func(*invocation) string { return routed },
		"PortMappingNumberOfEntries": func(i *invocation) string { return strconv.Itoa(len(i.own())) },
	}
}
